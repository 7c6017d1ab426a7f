"""Subscribing and what can go wrong in it, asked over a real socket."""

import asyncio
import json
import threading
from typing import Any

import pytest

from gateway import performer
from gateway.relay.listener import Listener
from gateway.relay.relay import Relay
from shared.bus.connect import Redis
from shared.errors import StoreAwayError
from tests.gateway.realtime.asking import gauge, ops, subscribe
from tests.gateway.realtime.conftest import World
from tests.gateway.rig import wait_until
from tests.scenarios.client import Person, closed

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


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
            broken.setattr(performer, "read_reset", away)
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

    monkeypatch.setattr(performer, "request_cancel", broken)
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
