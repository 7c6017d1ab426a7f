"""Sockets that end: silent, signed out, flooding, too slow, too many."""

import asyncio
import threading
from typing import Any

import httpx
import pytest
import uvicorn
import websockets

from gateway import connection, outgoing, performer
from gateway.app import make_app
from shared.web import wire
from shared.web.serve import server_config
from stack.program import free_port
from tests.gateway.realtime.asking import closes, ops, subscribe
from tests.gateway.realtime.conftest import World
from tests.gateway.rig import gateway_settings, wait_until
from tests.scenarios.client import Person, Socket, closed

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


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


async def test_too_many_frames_close_the_socket(ada: Person) -> None:
    async with ada.socket() as opened:
        for _ in range(connection.FRAMES_BURST + 50):
            await opened.raw.send('{"op":"ping","id":"p"}')
        assert await closed(opened) == 4429


async def test_a_socket_has_room_for_so_many_subscriptions(
    ada: Person, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performer, "MOST_SUBSCRIPTIONS", 2)
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
