"""A runner that is frozen, blocked, stuck, or told to end: its runs go on, and each ends once."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from drill.client import Client
from drill.verdict import Violation, Wrong
from runner.heartbeat import STUCK_EXIT
from stack.test_stores import TestStores
from tests.faults.nursery import CLAIMS, Act, Fault, Forked
from tests.faults.scene import (
    LEASE_S,
    OFTEN,
    PATIENCE_S,
    Scene,
    blocking_ask,
    long_ask,
    ready,
    scene,
    seen,
    tools_ask,
    until,
)

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

#: Where a runner holds what its successor must not see: a step, events, an effect, an end.
FREEZES = (
    "runner.record:Record._once _http.request enter after",
    "runner.run:Driver._append_starts append after",
    "runner.models.live_call:LiveCall._once _stream after",
    "runner.publisher:Publisher._send append_all before",
    "runner.agent_loop:AgentLoop._call_tool run.home.run before",
    "runner.committer:Committer._send _record.commit before",
    "runner.committer:Committer.finish _commit before",
    "runner.committer:Committer.finish _commit after",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(
    stores: TestStores, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    async with scene(stores, tmp_path_factory.mktemp("runner")) as made:
        yield made
        found = [one for one in await made.verdict() if not paid_twice(one)]
        assert not found, "\n".join(map(str, found))


def paid_twice(violation: Violation) -> bool:
    """The one thing a woken runner may still do: ask a model, and nobody sees the answer."""
    return violation.kind is Wrong.CALLS and violation.where.startswith("run_c1x")


def talk(*clients: Client) -> asyncio.Future[list[None]]:
    return asyncio.gather(*(one.converse(asyncio.Event()) for one in clients))


async def said(process: Forked, what: str) -> None:
    """Wait until a line of the process's log is about that."""
    await until(
        lambda: any(what in (line.get("event"), line.get("fault")) for line in process.said()),
        process.log.read_text,
    )


async def test_a_frozen_runner_does_no_harm_when_it_wakes(here: Scene) -> None:
    home = here.agents("Frozen")
    zombies = [
        await here.runner(home, Fault(point=point, act=Act.FREEZE, armed_by=(CLAIMS,)))
        for point in FREEZES
    ]
    await ready(*zombies)
    clients = [here.client("Frozen", tools_ask(f"c1x{n}x")) for n in range(len(zombies))]
    talking = talk(*clients)
    await asyncio.gather(*(said(one, Act.FREEZE) for one in zombies))
    rescuer = await here.runner(home, slots=len(zombies))
    async with asyncio.timeout(PATIENCE_S):
        await talking
    rescuer.kill(signal.SIGTERM)
    for one in zombies:
        one.kill(signal.SIGCONT)
    # One froze in its claim's answer, and one with nothing to do but to hear that it has ended.
    await asyncio.gather(*(said(one, "lease_lost") for one in zombies[1:-1]))
    fresh = [here.client("Frozen", tools_ask(f"c2x{n}x")) for n in range(len(zombies))]
    async with asyncio.timeout(PATIENCE_S):
        await talk(*fresh)
    for one in zombies:
        one.kill()


async def test_blocked_code_keeps_its_run(here: Scene) -> None:
    blocked = await here.runner(here.agents("Blocked"), slots=2)
    other = await here.runner(here.folder / "agents-Blocked", slots=2)
    await ready(blocked, other)
    client = here.client("Blocked", blocking_ask("c3x0x", 2 * LEASE_S, here.folder / "blocked"))
    async with asyncio.timeout(PATIENCE_S):
        await talk(client)
    assert {one.position.fence for one in seen(client)} == {1}
    blocked.kill()
    other.kill()


async def test_a_loop_that_stands_still_for_too_long_ends_the_process(here: Scene) -> None:
    home = here.agents("Stuck")
    stuck = await here.runner(home, constants={"runner.heartbeat.STUCK_S": 2})
    await ready(stuck)
    client = here.client("Stuck", blocking_ask("c4x0x", 120, here.folder / "stuck"))
    talking = talk(client)
    async with asyncio.timeout(PATIENCE_S):
        assert await stuck.ended() == STUCK_EXIT
        rescuer = await here.runner(home)
        await talking
    rescuer.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_runner_that_is_told_to_end_gives_its_runs_away(
    here: Scene, number: signal.Signals
) -> None:
    """One at its next step, and one in the middle of a step that is too long to wait for."""
    agent = f"Told{number.name}"
    home = here.agents(agent)
    told = await here.runner(home, slots=2, constants=OFTEN | {"runner.worker.DRAIN_S": 1.0})
    await ready(told)
    slow = here.client(agent, long_ask(f"c6x{number}x"))
    quick = here.client(agent, tools_ask(f"c5x{number}x"))
    talking_slowly = talk(slow)
    await until(lambda: any("delta" in one.event for one in seen(slow)))
    talking = talk(quick)
    await until(lambda: len(told.runs()) == 2, told.log.read_text)
    told.kill(number)
    async with asyncio.timeout(PATIENCE_S):
        assert await told.ended() == 0
        rescuer = await here.runner(home, slots=2)
        await asyncio.gather(talking, talking_slowly)
    for client in (slow, quick):
        told_of = [one.event["name"] for one in seen(client) if one.event["type"] == "CUSTOM"]
        assert told_of == ["baton.resumed"]
    rescuer.kill()
