"""How a gateway ends: it serves on, sends people away one after another, leaves nothing half."""

import asyncio
import json
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from itertools import pairwise
from typing import Any

import httpx
import psycopg
import pytest
import pytest_asyncio
import websockets

from gateway.draining import NOTICE, spread
from shared.protocol.ids import new_id
from stack.program import free_port
from tests.gateway.rig import wait_until
from tests.gateway.test_process import environment, lines_until, started
from tests.scenarios.client import PATIENCE_S, Person, Socket, closed

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


# ---------------------------------------------------------------------- the plan, without sockets
def test_each_socket_has_a_moment_of_its_own_after_the_notice_and_within_the_time() -> None:
    planned = list(spread(range(50), 10.0))
    moments = [moment for moment, _ in planned]
    assert sorted(one for _, one in planned) == list(range(50))
    assert moments == sorted(set(moments))
    assert moments[0] > 10.0 * NOTICE
    assert moments[-1] == pytest.approx(10.0)
    gaps = {round(after - before, 6) for before, after in pairwise(moments)}
    assert len(gaps) == 1


def test_the_order_is_by_chance() -> None:
    orders = {tuple(one for _, one in spread(range(30), 1.0)) for _ in range(5)}
    assert len(orders) == 5


def test_nobody_is_sent_away_before_the_end_by_few_sockets_either() -> None:
    assert list(spread([], 10.0)) == []
    assert list(spread(["the only one"], 10.0)) == [(10.0, "the only one")]


def test_with_no_time_all_go_at_once() -> None:
    assert {moment for moment, _ in spread(range(30), 0.0)} == {0.0}


# ---------------------------------------------------------------------- a process
class Gateway:
    """A gateway as a process, and a person who is signed in there."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, person: Person) -> None:
        self.process, self.port, self.person = process, port, person

    async def ready(self) -> httpx.Response:
        return await self.person.http.get("/readyz")

    async def drains(self) -> None:
        async def said() -> bool:
            answer = await self.ready()
            return answer.status_code == 503 and not answer.json()["checks"]["accepting"]

        await wait_until(said, within_s=PATIENCE_S)

    async def ended(self) -> int:
        await asyncio.to_thread(lines_until, self.process, "stopped")
        return await asyncio.to_thread(self.process.wait, PATIENCE_S)


@pytest.fixture
def drain_s() -> float:
    return 8


@pytest.fixture
def process(
    database_url: str, redis_url: str, drain_s: float
) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    port = free_port()
    env = environment(
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        BATON_PORT=str(port),
        BATON_DEV_MODE="true",
        BATON_DRAIN_S=str(drain_s),
    )
    with started(env) as running:
        lines_until(running, "listening")
        yield running, port


@pytest_asyncio.fixture
async def gateway(process: tuple["subprocess.Popen[str]", int]) -> AsyncIterator[Gateway]:
    running, port = process
    person = await Person(f"http://127.0.0.1:{port}", "ada@example.com").sign_in()
    yield Gateway(running, port, person)
    await person.http.aclose()


async def opened(person: Person, lifetime: AsyncExitStack, count: int) -> list[Socket]:
    sockets = [await lifetime.enter_async_context(person.socket()) for _ in range(count)]
    for one in sockets:
        assert (await one.next())["op"] == "welcome"
    return sockets


@pytest.mark.stores
@pytest.mark.asyncio
@BOTH
async def test_sockets_are_closed_one_after_another_while_it_still_serves(
    gateway: Gateway, number: signal.Signals
) -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as lifetime:
        sockets = await opened(gateway.person, lifetime, 50)
        over: list[int] = []
        begun = loop.time()

        async def watched(which: int) -> tuple[int, float]:
            code = await closed(sockets[which])
            over.append(which)
            return code, loop.time() - begun

        watching = [asyncio.create_task(watched(which)) for which in range(50)]
        gateway.process.send_signal(number)
        await gateway.drains()
        assert not over
        assert (await gateway.person.get("/api/me"))["email"] == "ada@example.com"
        await wait_until(lambda: len(over) >= 5, within_s=PATIENCE_S)
        assert len(over) < 45
        assert (await gateway.ready()).status_code == 503
        async with gateway.person.socket() as late:
            assert await closed(late) == 1012
            assert "welcome" not in [frame["op"] for frame in late.frames]
        found = await asyncio.gather(*watching)
        assert {code for code, _ in found} == {1012}
        moments = sorted(moment for _, moment in found)
        assert moments[-1] - moments[0] > moments[-1] / 2  # nobody came back as a herd
        assert over != list(range(50))
    assert await gateway.ended() == 0


@pytest.mark.stores
@pytest.mark.asyncio
@pytest.mark.parametrize("drain_s", [3600.0])
@BOTH
async def test_without_sockets_it_serves_on_and_is_not_ready(
    gateway: Gateway, number: signal.Signals
) -> None:
    """Else a load balancer would send requests to where nobody listens."""
    gateway.process.send_signal(number)
    await gateway.drains()
    assert (await gateway.person.get("/api/me"))["email"] == "ada@example.com"
    await gateway.drains()
    gateway.process.send_signal(number)
    assert await gateway.ended() == 0


@pytest.mark.stores
@pytest.mark.asyncio
@pytest.mark.parametrize("drain_s", [0.5])
async def test_without_sockets_it_ends_after_its_time(gateway: Gateway) -> None:
    gateway.process.send_signal(signal.SIGTERM)
    assert await gateway.ended() == 0


@pytest.mark.stores
@pytest.mark.asyncio
@pytest.mark.parametrize("drain_s", [3600.0])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(gateway: Gateway, second: signal.Signals) -> None:
    async with AsyncExitStack() as lifetime:
        sockets = await opened(gateway.person, lifetime, 3)
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.drains()
        gateway.process.send_signal(second)
        assert {await closed(one) for one in sockets} == {1012}
    assert await gateway.ended() == 0


@pytest.mark.stores
@pytest.mark.asyncio
@pytest.mark.parametrize("drain_s", [0.0, 1.0])
async def test_a_run_sent_just_before_the_close_is_acked_or_not_accepted(
    gateway: Gateway, database_url: str
) -> None:
    agents = json.dumps({"A": {"title": "A", "digest": "d"}})
    async with await psycopg.AsyncConnection.connect(database_url) as db:
        await db.execute(
            "INSERT INTO runners (id, lease_until, version, slots, agents, broken, carried) VALUES "
            "('r', now() + interval '1 minute', 'dev', 1, %s, '{}', 0)",
            (agents,),
        )
    acked: set[str] = set()
    # Read from the beginning: a log that nobody reads would hold the gateway up.
    ended = asyncio.create_task(gateway.ended())

    async def asks_on(one: Socket) -> None:
        """Ask for runs until the close comes, each as soon as the last is answered."""
        with suppress(websockets.ConnectionClosed):
            while True:
                run, thread = new_id("run"), new_id("thr")
                message = {"id": new_id("usr"), "role": "user", "content": "hello"}
                given: dict[str, Any] = {"threadId": thread, "runId": run, "messages": [message]}
                answer = await one.answer(await one.send(op="run", agent="A", input=given))
                assert answer["op"] == "ack", answer
                acked.add(run)

    async with AsyncExitStack() as lifetime:
        sockets = await opened(gateway.person, lifetime, 8)
        asking = [asyncio.create_task(asks_on(one)) for one in sockets]
        await wait_until(lambda: len(acked) >= 8, within_s=PATIENCE_S)
        gateway.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*asking)
        assert {one.raw.close_code for one in sockets} == {1012}
    assert await ended == 0
    async with await psycopg.AsyncConnection.connect(database_url) as db:
        rows = await (await db.execute("SELECT public_id FROM runs")).fetchall()
    assert {row[0] for row in rows} == acked


@pytest.mark.stores
@pytest.mark.asyncio
@pytest.mark.parametrize("drain_s", [0.0])
async def test_a_model_call_that_waits_is_sent_elsewhere(
    gateway: Gateway, database_url: str
) -> None:
    """Nobody carries the run, so it waits; with its key it is joined at another gateway."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as db:
        await db.execute(
            "INSERT INTO runners (id, lease_until, version, slots, agents, broken, carried) VALUES "
            "('r', now() + interval '1 minute', 'dev', 1, %s, '{}', 0)",
            (json.dumps({"A": {"title": "A", "digest": "d"}}),),
        )
        body = {"model": "A", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        headers = {"Idempotency-Key": "k"}
        asking = asyncio.create_task(
            gateway.person.http.post("/v1/chat/completions", json=body, headers=headers)
        )

        async def accepted() -> bool:
            return await (await db.execute("SELECT 1 FROM runs")).fetchone() is not None

        await wait_until(accepted)
        gateway.process.send_signal(signal.SIGTERM)
        answer = await asking
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert await gateway.ended() == 0


@pytest.mark.stores
@pytest.mark.asyncio
@pytest.mark.parametrize("drain_s", [0.0])
@BOTH
async def test_a_request_under_way_is_answered(gateway: Gateway, number: signal.Signals) -> None:
    body = b'{"email": "ada@example.com"}'
    origin = f"http://127.0.0.1:{gateway.port}"
    head = (
        "POST /auth/dev-login HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{gateway.port}\r\nOrigin: {origin}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(head.encode() + body[:5])
    await writer.drain()
    assert (await gateway.ready()).status_code == 200  # so the beginning of ours has been read
    gateway.process.send_signal(number)
    await wait_until(lambda: _refuses(gateway.port), within_s=PATIENCE_S)
    writer.write(body[5:])
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    writer.close()
    assert await gateway.ended() == 0


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return True
    return False
