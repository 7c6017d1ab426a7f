"""Who may open a socket, what several of them see, and what a gateway's end means to clients."""

import signal
from typing import Any

import pytest
import websockets
from ag_ui_validate.pytest_plugin import assert_valid_agui

from shared.protocol.ids import new_id, new_thread_id
from stack.running import Stack
from tests.scenarios.client import Person, Socket, assert_gapless, closed, joined

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]


async def refusal(person: Person, *offered: str, **options: Any) -> int:
    """The close code that a handshake ends with."""
    where = person.url.replace("http", "ws") + "/realtime"
    protocols = [websockets.Subprotocol(one) for one in offered]
    async with websockets.connect(
        where, subprotocols=protocols or None, proxy=None, **options
    ) as raw:
        return await closed(Socket(raw))


async def test_who_may_open_a_socket(ada: Person) -> None:
    cookie = {"Cookie": ada.cookie}
    other_port = ada.url.rpartition(":")[0] + ":1"
    v1 = "baton.v1"
    assert await refusal(ada, v1, origin=ada.url) == 4401  # nobody signed in
    assert await refusal(ada, v1, additional_headers=cookie) == 4401  # a program needs a key
    for origin in ("https://evil.example", other_port, "null", ada.url + ".evil.example"):
        assert await refusal(ada, v1, origin=origin, additional_headers=cookie) == 4403
    forged = {"Cookie": "baton_sign_in=" + "x" * 43}
    assert await refusal(ada, v1, origin=ada.url, additional_headers=forged) == 4401
    for wrong in ("bt_nobody", "", "x" * 600):
        assert await refusal(ada, v1, f"bearer.{wrong or 'x'}", origin=ada.url) == 4401
        header = {"Authorization": f"Bearer {wrong}"}
        assert await refusal(ada, v1, additional_headers=header | cookie) == 4401
    assert await refusal(ada, origin=ada.url, additional_headers=cookie) == 4400  # no sub-protocol
    assert await refusal(ada, "baton.v9", origin=ada.url, additional_headers=cookie) == 4400


async def test_a_key_opens_a_socket_without_origin_and_without_cookie(ada: Person) -> None:
    made = (await ada.http.post("/api/keys", json={"name": "test"})).json()
    where = ada.url.replace("http", "ws") + "/realtime"
    v1 = websockets.Subprotocol("baton.v1")
    bearer = websockets.Subprotocol(f"bearer.{made['key']}")
    header = {"Authorization": f"Bearer {made['key']}"}
    for offered, more in (([v1, bearer], {}), ([v1], header)):
        async with websockets.connect(
            where, subprotocols=offered, additional_headers=more, proxy=None
        ) as raw:
            assert raw.subprotocol == v1
            socket = Socket(raw)
            assert (await socket.next())["user"]["email"] == ada.email
            await socket.say(new_thread_id(), "hello")
            await socket.finished()
    ended = await ada.http.delete(f"/api/keys/{made['id']}")
    assert ended.status_code == 204
    assert await refusal(ada, v1, bearer) == 4401


async def test_all_sockets_of_a_person_see_the_same(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    made = await ada.http.post("/api/threads", json={"agent": "Assistant", "id": thread})
    assert made.status_code == 201
    async with ada.socket() as one, ada.socket(url=stack.gateway_urls[1]) as other:
        for socket in (one, other):
            await socket.answer(await socket.send(op="subscribe", threadId=thread))
            await socket.until(lambda frame: frame["op"] == "live")
        await one.say(thread, "[[deltas=20]] [[tokens_per_s=200]]")
        await one.finished()
        await other.finished()
    assert one.events() == other.events()
    assert_gapless(one.events())
    assert_valid_agui([frame["event"] for frame in one.events()])


async def test_what_waits_is_told_to_all_sockets_of_the_person(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    async with ada.socket() as one, ada.socket(url=stack.gateway_urls[1]) as other:
        await other.next()
        await one.say(thread, "[[deltas=5]] [[tokens_per_s=20]]")
        queued = await one.say(thread, "hello")
        assert queued["queued"]
        news = await other.until(lambda frame: frame["op"] == "changed")
        waits = await other.until(lambda frame: frame.get("what") == "queue")
        assert (news["what"], news["threadId"]) == ("thread", thread)
        assert waits["threadId"] == thread
        await one.finished()
        await one.finished()


async def test_a_busy_thread_refuses_who_does_not_want_to_wait(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        await socket.say(thread, "[[deltas=20]] [[tokens_per_s=40]]")
        refused = await socket.say(thread, "hello", ifBusy="reject")
        assert (refused["code"], refused["retryable"]) == ("busy", True)
        await socket.finished()
        said = (await ada.get(f"/api/threads/{thread}/messages"))["data"]
        assert [one["role"] for one in said] == ["user", "assistant"]


async def test_a_socket_that_subscribes_twice_gets_every_event_once_more_and_then_once(
    ada: Person,
) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        await socket.say(thread, "hello")
        await socket.finished()
        first = socket.events()
        for _ in range(2):
            await socket.answer(
                await socket.send(op="subscribe", threadId=thread, after=first[0]["id"])
            )
            await socket.until(lambda frame: frame["op"] == "live")
        resent = socket.events()[len(first) :]
        assert resent == first[1:] * 2
        await socket.say(thread, "hello")
        await socket.finished()
        assert_gapless([*first, *socket.events()[len(first) + len(resent) :]])
        ack = await socket.answer(await socket.send(op="unsubscribe", threadId=thread))
        again = await socket.answer(await socket.send(op="unsubscribe", threadId=thread))
        assert (ack["op"], again["op"]) == ("ack", "ack")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 1012), (signal.SIGINT, 1012), (signal.SIGKILL, 1006)],
)
async def test_a_gateway_that_ends_is_not_noticed_by_runs_and_clients_go_on_elsewhere(
    ada: Person, stack: Stack, number: signal.Signals, code: int
) -> None:
    thread = new_thread_id()
    async with ada.socket(url=stack.gateway_urls[1]) as first:
        await first.say(thread, "[[deltas=60]] [[tokens_per_s=40]]")
        await first.until(lambda f: f.get("event", {}).get("type") == "TEXT_MESSAGE_CHUNK")
        stack.processes["gateway-2"].kill(number)
        with pytest.raises(websockets.ConnectionClosed):
            await first.until(lambda frame: False)
        assert await closed(first) == code
    async with ada.socket() as second:
        await second.send(op="subscribe", threadId=thread, after=first.events()[-1]["id"])
        await second.finished()
        assert "reset" not in [frame["op"] for frame in second.frames]
    whole = [*first.events(), *second.events()]
    assert_gapless(whole)
    stored = (await ada.get(f"/api/threads/{thread}/events?limit=500"))["data"]
    assert [(row["id"], row["event"]) for row in stored] == joined(whole)
    assert_valid_agui([frame["event"] for frame in whole])
    await stack.processes["gateway-2"].ready()


async def test_a_client_that_vanishes_does_not_stop_its_run(ada: Person) -> None:
    thread, run = new_thread_id(), new_id("run")
    message = {"id": new_id("usr"), "role": "user", "content": "[[deltas=20]] [[tokens_per_s=50]]"}
    given = {"threadId": thread, "runId": run, "messages": [message]}
    async with ada.socket() as socket:
        await socket.answer(await socket.send(op="run", agent="Assistant", input=given))
        socket.raw.transport.abort()
    async with ada.socket() as again:
        await again.answer(await again.send(op="run", agent="Assistant", input=given))
        await again.finished()
    assert (await ada.get(f"/api/runs/{run}"))["status"] == "finished"
