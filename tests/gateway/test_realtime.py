"""`/realtime` of one gateway in this process, so that its patience can be made short."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
import pytest_asyncio
import uvicorn
import websockets
from prometheus_client import REGISTRY

from gateway import connection, open_socket, outgoing, websocket
from gateway.app import make_app
from gateway.relay.listener import Listener
from gateway.relay.relay import Relay
from shared.bus.connect import Redis, commands_client
from shared.errors import StoreAwayError
from shared.settings import GatewaySettings
from shared.web import wire
from shared.web.serve import server_config
from stack.program import free_port
from tests.gateway.relay.rig import Written, make_thread
from tests.gateway.rig import gateway_settings, wait_until
from tests.scenarios.client import Person, Socket, closed

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ticker in a twentieth of the time."""
    monkeypatch.setattr(websocket, "TICK_S", 0.05)
    monkeypatch.setattr(websocket, "VALIDITY_EVERY_S", 0.1)


@pytest.fixture
def more_settings() -> dict[str, Any]:
    return {}


@pytest.fixture
def served(
    database_url: str, redis_url: str, more_settings: dict[str, Any]
) -> Iterator[GatewaySettings]:
    """A gateway on a port of its own, in a thread."""
    more = {"BATON_PORT": free_port()} | more_settings
    settings = gateway_settings(database_url, redis_url, **more)
    server = uvicorn.Server(server_config(make_app(settings), settings))
    thread = threading.Thread(target=server.run, name="gateway")
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    yield settings
    server.should_exit = True
    thread.join()


@pytest_asyncio.fixture
async def ada(served: GatewaySettings) -> AsyncIterator[Person]:
    person = await Person(f"http://127.0.0.1:{served.port}", "ada@example.com").sign_in()
    yield person
    await person.http.aclose()


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = commands_client(redis_url, "test")
    yield client
    await client.aclose()


class World:
    """Threads of Ada that the test writes by hand."""

    def __init__(self, database_url: str, redis: Redis, user: UUID) -> None:
        self.database_url, self.redis, self.user = database_url, redis, user

    async def thread(self, public_id: str = "thr_1") -> Written:
        return await make_thread(self.database_url, self.redis, public_id, self.user)

    async def sql(self, statement: str, *values: Any) -> None:
        async with await psycopg.AsyncConnection.connect(self.database_url) as db:
            await db.execute(statement.encode(), values)


@pytest_asyncio.fixture
async def world(ada: Person, database_url: str, redis: Redis) -> World:
    async with ada.socket() as opened:
        welcome = await opened.next()
    return World(database_url, redis, UUID(welcome["user"]["id"]))


async def subscribe(opened: Socket, thread: str = "thr_1", **more: Any) -> list[dict[str, Any]]:
    """Subscribe, and everything up to `live`."""
    begun = len(opened.frames)
    await opened.send(op="subscribe", threadId=thread, **more)
    await opened.until(lambda frame: frame["op"] in ("live", "error"))
    return [one for one in opened.frames[begun:] if one["op"] != "welcome"]


def ops(frames: list[dict[str, Any]]) -> list[str]:
    return [one.get("id", "") if one["op"] == "event" else one["op"] for one in frames]


# ---------------------------------------------------------------------- patience
async def test_a_silent_client_is_closed(
    quick: None, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEARTBEAT_LIMIT_MS", 600)
    async with ada.socket() as silent, ada.socket() as other:

        async def ping() -> None:
            while True:
                await other.answer(await other.send(op="ping"))
                await asyncio.sleep(0.05)

        pinging = asyncio.create_task(ping())
        assert await closed(silent) == 4408
        assert (await other.answer(await other.send(op="ping")))["op"] == "pong"
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)


async def test_logging_out_closes_the_sockets_of_that_browser_alone(
    quick: None, ada: Person
) -> None:
    again = await Person(ada.url, ada.email).sign_in()
    async with ada.socket() as first, ada.socket() as second, again.socket() as other:
        assert (await ada.http.post("/auth/logout")).status_code == 204
        assert [await closed(first), await closed(second)] == [4401, 4401]
        assert (await other.answer(await other.send(op="ping")))["op"] == "pong"
    await again.http.aclose()


async def test_revoking_a_key_closes_its_sockets(quick: None, ada: Person) -> None:
    made = (await ada.http.post("/api/keys", json={"name": "test"})).json()
    where = ada.url.replace("http", "ws") + "/realtime"
    offered = [websockets.Subprotocol("baton.v1"), websockets.Subprotocol(f"bearer.{made['key']}")]
    async with websockets.connect(where, subprotocols=offered, proxy=None) as raw:
        assert raw.subprotocol == "baton.v1"
        opened = Socket(raw)
        assert (await opened.next())["user"]["email"] == ada.email
        assert (await ada.http.delete(f"/api/keys/{made['id']}")).status_code == 204
        assert await closed(opened) == 4401


class TestExpiry:
    @pytest.fixture
    def more_settings(self) -> dict[str, Any]:
        return {"BATON_SIGN_IN_DAYS": 1.5 / 86_400}

    async def test_a_sign_in_that_ends_closes_its_sockets(self, quick: None, ada: Person) -> None:
        async with ada.socket() as opened:
            assert (await opened.next())["op"] == "welcome"
            assert await closed(opened) == 4401


async def test_a_client_that_floods_us_with_pongs_is_closed(
    quick: None, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "FRAMES_BURST", 20)
    before = closes(4429)
    async with ada.socket() as opened:
        for _ in range(60):
            await opened.raw.pong()
        assert await closed(opened) == 4429
    assert closes(4429) == before + 1


async def test_a_client_that_never_reads_is_closed_and_nobody_else_notices(
    quick: None, ada: Person, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "STUCK_S", 0.3)
    thread = await world.thread()
    await thread.begin()
    before = closes(4429)
    async with ada.socket() as deaf, ada.socket() as other:
        await deaf.send(op="subscribe", threadId="thr_1")
        await subscribe(other)
        for _ in range(30):
            await thread.say(5, size=20_000)
            await other.until(lambda one: one.get("id") == str(thread.end))
        await wait_until(lambda: closes(4429) == before + 1)
        assert (await other.answer(await other.send(op="ping")))["op"] == "pong"
        deaf.raw.close_timeout = 0.1


def closes(code: int) -> float:
    return REGISTRY.get_sample_value("baton_sockets_closed_total", {"code": str(code)}) or 0


def gauge(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0


async def test_too_many_frames_close_the_socket(ada: Person) -> None:
    async with ada.socket() as opened:
        for _ in range(connection.FRAMES_BURST + 50):
            await opened.raw.send('{"op":"ping","id":"p"}')
        assert await closed(opened) == 4429


async def test_a_socket_has_room_for_so_many_subscriptions(
    ada: Person, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_socket, "MOST_SUBSCRIPTIONS", 2)
    for number in range(3):
        await world.thread(f"thr_{number}")
    async with ada.socket() as opened:
        await subscribe(opened, "thr_0")
        await subscribe(opened, "thr_1")
        (refused,) = await subscribe(opened, "thr_2")
        assert (refused["code"], refused["retryable"]) == ("rate_limited", True)
        (refused,) = [await opened.say("thr_new", "hello")]
        assert refused["code"] == "rate_limited"
        assert (await ada.http.get("/api/threads/thr_new")).status_code == 404
        await subscribe(opened, "thr_1")  # once more is no other
        await opened.answer(await opened.send(op="unsubscribe", threadId="thr_0"))
        assert ops(await subscribe(opened, "thr_2"))[0] == "ack"


# ---------------------------------------------------------------------- subscribing
async def test_a_cursor_before_the_first_event_is_resumed(ada: Person, world: World) -> None:
    thread = await world.thread()
    async with ada.socket() as opened:
        reset = (await subscribe(opened))[1]
        assert (reset["op"], reset["cursor"]) == ("reset", "0-0")
    await thread.begin()
    await thread.say(2)
    for cursor in ("0-0", "1-0"):
        async with ada.socket() as opened:
            found = await subscribe(opened, after=cursor)
        assert ops(found) == ["ack", "1-1", "1-2", "1-3", "live"]


async def test_subscribing_again_begins_again_and_unsubscribing_is_always_possible(
    ada: Person, world: World
) -> None:
    thread = await world.thread()
    await thread.begin()
    await thread.say(2)
    async with ada.socket() as opened:
        assert ops(await subscribe(opened, after="1-1")) == ["ack", "1-2", "1-3", "live"]
        assert ops(await subscribe(opened, after="1-2")) == ["ack", "1-3", "live"]
        await thread.say(1)
        await opened.until(lambda one: one.get("id") == "1-4")
        await world.sql("UPDATE threads SET deleted_at = now()")
        answer = await opened.answer(await opened.send(op="unsubscribe", threadId="thr_1"))
        assert answer["op"] == "ack"
        again = await opened.answer(await opened.send(op="unsubscribe", threadId="thr_1"))
        assert again["code"] == "not_found"
        await thread.say(1)
        await opened.answer(await opened.send(op="ping"))
    assert [one["id"] for one in opened.events()] == ["1-2", "1-3", "1-3", "1-4"]


async def test_a_cursor_inside_joined_text_gets_a_reset_and_then_live(
    ada: Person, world: World, redis: Redis
) -> None:
    thread = await world.thread()
    await thread.begin()
    await thread.say(9)
    async with ada.socket() as opened:
        assert ops(await subscribe(opened, after="1-7")) == ["ack", "1-8", "1-9", "1-10", "live"]
        await thread.say(4, heard=False)
        await thread.store(2, 14)
        await redis.flushall()
        kinds: list[str] = []
        while not kinds or kinds[-1] != "live":
            kinds += ops([await opened.next()])
    assert kinds == ["reset", "live"]
    assert opened.frames[-1]["cursor"] == "1-14"


async def test_a_reset_larger_than_every_buffer_reaches_a_client_that_reads(
    ada: Person, world: World
) -> None:
    thread = await world.thread()
    text = "x" * 900_000
    message = json.dumps({"id": "m", "role": "user", "content": text})
    insert = "INSERT INTO messages (thread_id, id, role, content) VALUES (%s, 'm', 'user', %s)"
    await world.sql(insert, thread.key, message)
    await world.sql("UPDATE threads SET head = 'm'")
    async with ada.socket() as opened:
        found = await subscribe(opened)
        assert [one["op"] for one in found] == ["ack", "reset", "live"]
        assert found[1]["messages"][0]["content"] == text
        await thread.begin()
        await thread.say(1, size=100_000)
        await opened.until(lambda one: one.get("id") == "1-2")


async def test_a_subscription_that_fails_leaves_nothing_behind(
    ada: Person, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = await world.thread()
    await thread.begin()

    async def away(*_: Any) -> Any:
        raise StoreAwayError("Postgres")

    async with ada.socket() as opened:
        with monkeypatch.context() as broken:
            broken.setattr(open_socket, "read_reset", away)
            (refused,) = await subscribe(opened)
        assert (refused["code"], refused["retryable"]) == ("unavailable", True)
        await thread.say(1)
        assert ops(await subscribe(opened, after="1-1")) == ["ack", "1-2", "live"]


async def test_a_client_that_vanishes_while_something_is_done_for_it_leaves_nothing_behind(
    ada: Person, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.thread()
    begun, goes_on, joined = threading.Event(), threading.Event(), threading.Event()
    join = Relay.join

    async def slowly(relay: Relay, listener: Listener) -> None:
        begun.set()
        await asyncio.to_thread(goes_on.wait)
        await join(relay, listener)
        joined.set()

    monkeypatch.setattr(Relay, "join", slowly)
    sockets, subscriptions = gauge("baton_sockets"), gauge("baton_subscriptions")
    async with ada.socket() as opened:
        await opened.send(op="subscribe", threadId="thr_1")
        await wait_until(begun.is_set)
        opened.raw.transport.abort()
        await wait_until(lambda: gauge("baton_sockets") == sockets)
        goes_on.set()
        await wait_until(joined.is_set)
        await wait_until(lambda: gauge("baton_subscriptions") == subscriptions)


async def test_frames_that_are_sent_at_once_are_answered_in_order(ada: Person) -> None:
    async with ada.socket() as opened:
        given = [
            await opened.send(op=op, threadId="nobodys")
            for op in ("subscribe", "ping")
            for _ in "ab"
        ]
        await opened.answer(given[-1])
        assert [frame["id"] for frame in opened.frames if "id" in frame] == given


async def test_a_mistake_of_ours_is_told_without_its_details_and_the_socket_stays(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("secret details")

    monkeypatch.setattr(open_socket, "request_cancel", broken)
    async with ada.socket() as opened:
        refused = await opened.answer(await opened.send(op="cancel", threadId="t", runId="r"))
        assert (refused["code"], refused["retryable"]) == ("internal", True)
        assert "secret" not in json.dumps(refused)
        assert (await opened.answer(await opened.send(op="ping")))["op"] == "pong"


async def test_a_run_that_stands_but_cannot_be_followed_is_no_error(
    ada: Person, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.thread()
    await world.sql(
        "INSERT INTO runners (id, lease_until, version, slots, agents, broken, carried) VALUES "
        "('r', now() + interval '1 minute', 'dev', 1, %s, '{}', 0)",
        json.dumps({"A": {"title": "A", "digest": "d"}}),
    )

    async def away(*_: Any) -> Any:
        raise StoreAwayError("Redis")

    monkeypatch.setattr(Relay, "join", away)
    message = {"id": "m", "role": "user", "content": "hello"}
    given = {"threadId": "thr_1", "runId": "run_1", "messages": [message]}
    async with ada.socket() as opened:
        await opened.send(op="run", input=given)
        assert await closed(opened) == 1012
    assert (await ada.get("/api/runs/run_1"))["status"] == "queued"


async def test_a_notice_is_passed_on_to_all_sockets_of_the_person(
    ada: Person, world: World, redis: Redis
) -> None:
    bob = await Person(ada.url, "bob@example.com").sign_in()
    async with ada.socket() as one, ada.socket() as two, bob.socket() as other:
        for opened in (one, two, other):
            await opened.next()
        for nonsense in (b"", b"[]", b"1", b'{"thread":1}', b"\xff"):
            await redis.publish(f"user:{{{world.user}}}", nonsense)
        await redis.publish(f"user:{{{world.user}}}", b'{"what":"queue","threadId":"thr_1"}')
        told = {"op": "changed", "what": "queue", "threadId": "thr_1"}
        assert [await one.next(), await two.next()] == [told, told]
        await other.answer(await other.send(op="ping"))
        assert [frame["op"] for frame in other.frames] == ["welcome", "pong"]
    await bob.http.aclose()


# ---------------------------------------------------------------------- stores away
async def test_where_nobody_can_be_looked_up_a_socket_is_asked_to_come_again(
    redis_url: str,
) -> None:
    settings = gateway_settings(
        "postgresql://postgres@127.0.0.1:1/x", redis_url, BATON_PORT=free_port()
    )
    server = uvicorn.Server(server_config(make_app(settings), settings))
    running = threading.Thread(target=server.run, name="gateway")
    running.start()
    await wait_until(lambda: server.started)
    url = f"http://127.0.0.1:{settings.port}"
    person = Person(url, "ada@example.com")
    person.http.cookies = httpx.Cookies({"baton_sign_in": "x"})
    async with person.socket() as opened:
        assert await closed(opened) == 1012
    await person.http.aclose()
    server.should_exit = True
    await asyncio.to_thread(running.join)
