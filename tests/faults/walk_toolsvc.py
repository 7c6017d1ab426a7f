"""Walking the points of toolsvc: it dies at one after the other, while runs go on through it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import httpx
import psycopg

from drill.client import Client
from drill.plan import FaultKind
from drill.records import Hit
from drill.talk import Ask, Kind
from stack.program import free_port
from tests.faults.nursery import Fault, Forked
from tests.faults.scene import PATIENCE_S, Scene, hand_off_ask, ready, seen, tools_ask, until

#: Conversations that go on at the same time, so that every point is passed again and again.
TALKING = 3

_numbers = count(700_000)


@asynccontextmanager
async def _traffic(scene: Scene, port: int) -> AsyncIterator[Forked]:
    """Runs through the toolsvc at a port; after the block they come to an end."""
    agent = f"Shard{port}"
    toolsvc = await scene.toolsvc(port)
    address = f"http://127.0.0.1:{port}"
    runner = await scene.runner(scene.agents(agent), slots=8, TOOLSVC_URL=address)
    await ready(runner)
    over = asyncio.Event()

    async def talk() -> None:
        while not over.is_set():
            one, two = (f"c{next(_numbers)}x{n}x" for n in (0, 1))
            asks = (tools_ask(one), replace(hand_off_ask(two), queued=True))
            await scene.client(agent, *asks).converse(asyncio.Event())

    talking = [asyncio.create_task(talk()) for _ in range(TALKING)]
    try:
        yield toolsvc
        toolsvc = await scene.toolsvc(port)
        over.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*talking)
        runner.kill()
        toolsvc.kill()
    finally:
        for one in talking:
            one.cancel()


async def walk_carrying(scene: Scene, points: Sequence[str]) -> None:
    """Kill toolsvc at each point, one after the other."""
    port = free_port()
    async with _traffic(scene, port) as toolsvc:
        await _kill(scene, toolsvc)
        for point in points:
            victim = await scene.toolsvc(port, Fault(point=point))
            await _until_ended(scene, {point: victim})


async def reach_carrying(scene: Scene, record: Path) -> set[str]:
    """The points that toolsvc passes as it carries some runs from their beginning to their end."""
    port = free_port()
    async with _traffic(scene, port) as toolsvc:
        await _kill(scene, toolsvc)
        recorder = await scene.toolsvc(port, record=record)
        already = _done(scene)
        await until(lambda: _done(scene) >= already + 2 * TALKING)
        await _kill(scene, recorder)
    return _points(record)


# ---------------------------------------------------------------------- closing
def slow_ask(mark: str) -> Ask:
    """A long answer, which is cancelled."""
    text = f"{mark} [[deltas=1000]] [[tokens_per_s=20]]"
    ask = replace(tools_ask(mark), kind=Kind.CANCEL, text=text, answer=None)
    return replace(ask, ledger=0, notes=0, branches=1)


async def walk_closing(scene: Scene, points: Sequence[str]) -> None:
    """Kill one toolsvc at each point of closing a run whose runner is gone."""
    faults = [(Fault(point=point),) for point in points]
    async with _closing(scene, faults) as victims:
        await _until_ended(scene, dict(zip(points, victims, strict=True)))


#: What a toolsvc passes last as it closes a run.
_CLOSED = "toolsvc.runs.api:_close close_cancelled after"


async def reach_closing(scene: Scene, record: Path) -> set[str]:
    """The points that toolsvc passes as it closes a run."""
    async with _closing(scene, [()], record) as (toolsvc,):
        # A client hears of the end a moment before toolsvc has its answer.
        await until(lambda: scene.clients[-1].done and _CLOSED in _points(record))
        await _kill(scene, toolsvc)
    return _points(record)


@asynccontextmanager
async def _closing(
    scene: Scene, faults: Sequence[tuple[Fault, ...]], record: Path | None = None
) -> AsyncIterator[list[Forked]]:
    """Instances of toolsvc, each asked to close a run; then there is a runner again."""
    agent = f"Closed{next(_numbers)}"
    home = scene.agents(agent)
    runner = await scene.runner(home, slots=len(faults))
    await ready(runner)
    clients = [scene.client(agent, slow_ask(f"c{next(_numbers)}x0x")) for _ in faults]
    talking = [asyncio.create_task(one.converse(asyncio.Event())) for one in clients]
    try:
        await until(lambda: all(_speaks(one) for one in clients))
        runner.kill()
        ports = [free_port() for _ in faults]
        closers = [
            await scene.toolsvc(port, *one, record=record)
            for port, one in zip(ports, faults, strict=True)
        ]
        await ready(*closers, said="listening")
        await asyncio.gather(
            *(_close(scene, port, one) for port, one in zip(ports, clients, strict=True))
        )
        yield closers
        rescuer = await scene.runner(home, slots=len(faults))
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*talking)
        rescuer.kill()
    finally:
        for one in talking:
            one.cancel()


def _points(record: Path) -> set[str]:
    return set(record.read_text().splitlines())


def _done(scene: Scene) -> int:
    return sum(client.done for client in scene.clients)


def _speaks(client: Client) -> bool:
    return any("delta" in one.event for one in seen(client))


async def _close(scene: Scene, port: int, client: Client) -> None:
    """As a gateway does it: the wish goes into SQL, and then toolsvc is asked."""
    (run,) = client.record.accepted
    client.record.cancels.add(run)
    async with await psycopg.AsyncConnection.connect(scene.stack.database_url) as db:
        rows = await db.execute(
            "UPDATE runs SET cancel_requested_at = now() WHERE public_id = %s RETURNING id", (run,)
        )
        found = await rows.fetchone()
    assert found
    key = scene.stack.secrets.gateway_key
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            await http.post(
                f"http://127.0.0.1:{port}/runs/{found[0]}/close",
                headers={"authorization": f"Bearer {key}"},
            )
        except httpx.HTTPError:
            return  # it died before it had answered


async def _kill(scene: Scene, toolsvc: Forked) -> None:
    toolsvc.kill()
    await _until_ended(scene, {"": toolsvc})


async def _until_ended(scene: Scene, victims: dict[str, Forked]) -> None:
    done, living = await asyncio.wait(
        {asyncio.create_task(one.ended(), name=point) for point, one in victims.items()},
        timeout=PATIENCE_S,
    )
    assert not living, f"no toolsvc came to {sorted(one.get_name() for one in living)}"
    assert {one.result() for one in done} == {-9}
    kind = FaultKind.KILL_TOOLSVC
    scene.hits += [Hit(at=time.time(), kind=kind, target=point) for point in victims]
