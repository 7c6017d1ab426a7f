"""Postgres breaks, or toolsvc before it, while people watch: nothing is accepted without a row."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import pytest_asyncio

from drill.plan import LEASE_S, FaultKind
from drill.records import Hit
from drill.stores import frozen_postgres, take_connections, terminate_backends
from shared.protocol.ids import new_id, new_thread_id
from tests.faults.crowd import Crowd, crowd
from tests.faults.small_disk import full, small_disk
from tests.gateway.proxy import Proxy, proxy_to
from tests.scenarios.sql import select
from tests.until import until

pytestmark = [
    pytest.mark.stores,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]

LASTS_S = 2.5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Crowd]:
    async with crowd(tmp_path_factory.mktemp("postgres")) as made:
        yield made


async def test_restarted_fast(people: Crowd) -> None:
    async def fault() -> None:
        await people.stack.processes["postgres"].restart()

    (await people.live_through(fault)).assert_unharmed()


async def test_restarted_at_once(people: Crowd) -> None:
    """It recovers from its log; what it had answered is there."""

    async def fault() -> None:
        await people.kill("postgres", signal.SIGQUIT)

    (await people.live_through(fault)).assert_unharmed()


async def test_backends_terminated(people: Crowd) -> None:
    async def fault() -> None:
        for _ in range(3):
            await asyncio.to_thread(terminate_backends, people.stack.database_url)
            await asyncio.sleep(0.3)

    (await people.live_through(fault)).assert_unharmed()


async def test_no_connections_left(people: Crowd) -> None:
    async def fault() -> None:
        assert await take_connections(people.stack.database_url, LASTS_S * 4) > 100

    story = await people.live_through(fault)
    story.assert_unharmed()
    assert story.refused()


async def test_disk_full(people: Crowd) -> None:
    """What needs room is refused, not half done, and can be sent again; then the log is full, too.

    Postgres ends itself then, and cannot start before there is room again.
    """
    thread, run = new_thread_id(), new_id("run")
    postgres = people.stack.processes["postgres"]

    async with small_disk(people.stack) as disk:

        async def fault() -> None:
            with full(disk):
                until_s = time.monotonic() + LASTS_S
                while time.monotonic() < until_s:
                    answer = await send_much(people, thread, run)
                    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
                with pytest.raises(psycopg.OperationalError):
                    await write_log(people)
                await postgres.stop()
                await asyncio.sleep(LEASE_S)
            postgres.start()
            await postgres.ready()
            assert await select(people.stack, "SELECT FROM runs WHERE public_id = %s", run) == []

        story = await people.live_through(fault)
        assert (await send_much(people, thread, run)).status_code == 202
    story.assert_unharmed()
    assert story.refused()
    assert set(story.claims.values()) == {1}


async def write_log(people: Crowd) -> None:
    """Use up the room that Postgres keeps for its log."""
    async with await psycopg.AsyncConnection.connect(people.stack.database_url) as db:
        for _ in range(1000):
            await db.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000))")


async def send_much(people: Crowd, thread: str, run: str) -> httpx.Response:
    """A message that fits into no room which happens to be left in a table."""
    message = {
        "id": f"usr_{run}",
        "role": "user",
        "content": random.Random(1).randbytes(99_999).hex(),
    }
    body = {"agent": "Drill", "input": {"runId": run, "messages": [message]}}
    async with httpx.AsyncClient(base_url=people.stack.gateway_urls[0], trust_env=False) as http:
        headers = {"authorization": f"Bearer {people.key}"}
        return await http.post(f"/api/threads/{thread}/runs", json=body, headers=headers)


async def test_frozen_for_longer_than_a_lease(people: Crowd) -> None:
    """Nobody can renew, so nobody is dead."""
    postgres = people.stack.processes["postgres"]

    async def fault() -> None:
        async with frozen_postgres(people.stack.database_url, postgres.pid or 0):
            await asyncio.sleep(LEASE_S + 1)

    story = await people.live_through(fault)
    story.assert_unharmed()
    assert story.refused()
    assert set(story.claims.values()) == {1}


@pytest.mark.parametrize("numbers", [(1,), (1, 2)], ids=["one", "both"])
async def test_toolsvc_frozen_for_longer_than_a_lease(
    people: Crowd, numbers: tuple[int, ...]
) -> None:
    """As above: runners go to the other, and whoever wakes up lets them renew before it judges."""
    frozen = [people.stack.processes[f"toolsvc-{number}"] for number in numbers]

    async def fault() -> None:
        for one in frozen:
            one.kill(signal.SIGSTOP)
        await asyncio.sleep(LEASE_S + 1)
        for one in frozen:
            one.kill(signal.SIGCONT)

    story = await people.live_through(fault)
    story.assert_unharmed()
    assert set(story.claims.values()) == {1}


async def test_toolsvc_killed_and_restarted(people: Crowd) -> None:
    one, other = (people.stack.processes[f"toolsvc-{number}"] for number in (1, 2))

    hits: list[Hit] = []

    async def fault() -> None:
        hits.append(Hit(at=time.time(), kind=FaultKind.KILL_TOOLSVC, target="toolsvc-1"))
        other.kill(signal.SIGTERM)
        one.kill(signal.SIGKILL)
        await asyncio.gather(one.dead(), other.dead())
        await asyncio.gather(one.ready(), other.ready())

    (await people.live_through(fault, hits=hits)).assert_unharmed()


async def test_a_runner_that_reaches_no_toolsvc_loses_its_runs_to_one_that_does(
    people: Crowd,
) -> None:
    """Meanwhile it goes on to write events, which its successor finds and keeps."""
    stack = people.stack
    runners = [stack.processes[f"runner-{number}"] for number in (1, 2)]
    before = [runner.program for runner in runners]
    async with AsyncExitStack() as network:
        ways: dict[str, list[Proxy]] = {}
        for runner in runners:
            ways[runner.program.name] = [
                await network.enter_async_context(proxy_to("127.0.0.1", urlsplit(url).port or 0))
                for url in stack.toolsvc_urls
            ]
            urls = ",".join(f"http://127.0.0.1:{way.port}" for way in ways[runner.program.name])
            runner.program = replace(
                runner.program, env={**runner.program.env, "TOOLSVC_URL": urls}
            )
        await asyncio.gather(*(runner.restart() for runner in runners))

        async def fault() -> None:
            pid, name = await _busiest(people)
            for way in ways[name]:
                way.block()
            await until(lambda: _nothing_carried_by(people, pid))
            for way in ways[name]:
                way.unblock()

        story = await people.live_through(fault)
        for runner, program in zip(runners, before, strict=True):
            runner.program = program
        await asyncio.gather(*(runner.restart() for runner in runners))
    story.assert_unharmed()
    assert max(story.claims.values()) > 1


async def _busiest(people: Crowd) -> tuple[int, str]:
    """Process id and name of the runner that carries most."""
    rows = await select(
        people.stack,
        "SELECT split_part(reverse(runner_id), '-', 2) FROM runs WHERE status = 'running'"
        " GROUP BY 1 ORDER BY count(*) DESC",
    )
    pid = int(rows[0][0][::-1])
    return pid, next(name for name, one in people.stack.processes.items() if one.pid == pid)


async def _nothing_carried_by(people: Crowd, pid: int) -> bool:
    query = "SELECT FROM runs WHERE status = 'running' AND runner_id LIKE %s"
    return not await select(people.stack, query, f"%-{pid}-%")
