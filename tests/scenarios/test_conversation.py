"""The main job, end to end: a message in, a durable run, a stream out; over two gateways."""

import httpx
import pytest
from ag_ui_validate.pytest_plugin import assert_valid_agui

from shared.bus.connect import commands_client
from shared.bus.events import read_all_after
from shared.protocol.ids import new_thread_id
from shared.protocol.position import START
from stack.running import Stack
from tests.scenarios.client import (
    Person,
    assert_gapless,
    joined,
    kinds,
    positions,
    text_of,
)
from tests.scenarios.sql import thread_key

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]


async def test_a_message_is_answered_by_a_stream(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        welcome = await socket.next()
        ack = await socket.say(thread, "hello")
        await socket.finished()
    assert (welcome["op"], welcome["version"]) == ("welcome", 1)
    assert (ack["op"], ack["queued"]) == ("ack", False)
    assert kinds(socket.events()) == [
        "RUN_STARTED",
        "STEP_STARTED",
        "TEXT_MESSAGE_CHUNK",
        "STEP_FINISHED",
        "RUN_FINISHED",
    ]
    assert text_of(socket.events()).startswith("Hello!")
    assert_gapless(socket.events())


async def test_a_tool_call_changes_the_profile(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        await socket.say(thread, "Please set my display name to Ada in my profile")
        await socket.finished()
    assert kinds(socket.events()) == [
        "RUN_STARTED",
        "STEP_STARTED",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "TOOL_CALL_RESULT",
        "TEXT_MESSAGE_CHUNK",
        "STEP_FINISHED",
        "RUN_FINISHED",
    ]
    assert (await ada.get("/api/me"))["displayName"] == "Ada"


async def test_the_stream_in_redis_has_the_same_events_under_the_same_ids(
    ada: Person, stack: Stack
) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        await socket.say(thread, "[[deltas=20]] [[tokens_per_s=200]]")
        await socket.finished()
    redis = commands_client(stack.redis_url("reader"), "test")
    try:
        entries = await read_all_after(redis, await thread_key(stack, thread), START)
    finally:
        await redis.aclose()
    assert [entry.at for entry in entries] == positions(socket.events())
    assert [httpx.Response(200, text=entry.data).json() for entry in entries] == [
        frame["event"] for frame in socket.events()
    ]


async def test_the_other_gateway_resends_the_same(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    async with ada.socket() as first:
        for text in ("hello", "research tea", "[[deltas=30]] [[tokens_per_s=300]]"):
            await first.say(thread, text)
            await first.finished()
    after = first.events()[2]["id"]
    async with ada.socket(url=stack.gateway_urls[1]) as second:
        await second.send(op="subscribe", threadId=thread, after=after)
        live = await second.until(lambda frame: frame["op"] == "live")
    assert second.events() == first.events()[3:]
    assert live["cursor"] == first.events()[-1]["id"]


async def test_sql_has_what_was_delivered_with_adjacent_deltas_joined(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        for text in ("research tea", "summarize a story", "[[deltas=30]] [[tokens_per_s=300]]"):
            await socket.say(thread, text)
            await socket.finished()
    stored = (await ada.get(f"/api/threads/{thread}/events?limit=500"))["data"]
    assert [(row["id"], row["event"]) for row in stored] == joined(socket.events())


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "research the history of tea",
        "summarize a long story",
        "do both",
        "think about it",
        "[[fault=cut]]",
        "[[fault=refusal]]",
        "[[tool=nope {}]]",
    ],
)
async def test_every_stream_is_valid_agui(ada: Person, text: str) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        await socket.say(thread, text)
        await socket.finished()
    assert_valid_agui([frame["event"] for frame in socket.events()])


async def test_two_messages_at_once_run_one_after_the_other(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        first = await socket.say(thread, "[[deltas=10]] [[tokens_per_s=50]]")
        second = await socket.say(thread, "hello")
        await socket.ends(first["runId"], second["runId"])
    assert (first["queued"], second["queued"]) == (False, True)
    runs = [
        frame["event"]["runId"]
        for frame in socket.events()
        if frame["event"]["type"] in ("RUN_STARTED", "RUN_FINISHED")
    ]
    assert runs == [first["runId"]] * 2 + [second["runId"]] * 2
    roles = [one["role"] for one in (await ada.get(f"/api/threads/{thread}/messages"))["data"]]
    assert roles == ["user", "assistant", "user", "assistant"]


async def test_a_cancelled_run_keeps_its_text_so_far(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        ack = await socket.say(thread, "[[deltas=500]] [[tokens_per_s=50]]")
        await socket.until(lambda f: f.get("event", {}).get("type") == "TEXT_MESSAGE_CHUNK")
        await socket.answer(await socket.send(op="cancel", threadId=thread, runId=ack["runId"]))
        end = await socket.finished()
    assert end["event"]["outcome"] == {"type": "cancelled"}
    messages = (await ada.get(f"/api/threads/{thread}/messages"))["data"]
    assert messages[-1]["content"] == text_of(socket.events())
    assert_valid_agui([frame["event"] for frame in socket.events()])


async def test_a_client_without_cursor_gets_a_reset_with_the_conversation(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        await socket.say(thread, "hello")
        end = await socket.finished()
    async with ada.socket() as other:
        await other.send(op="subscribe", threadId=thread)
        reset = await other.until(lambda frame: frame["op"] == "reset")
        await other.until(lambda frame: frame["op"] == "live")
    assert reset["cursor"] == end["id"]
    assert reset["run"] is None
    assert [message["role"] for message in reset["messages"]] == ["user", "assistant"]
    assert other.events() == []


async def test_a_client_that_joins_in_mid_run_sees_the_run_from_its_start(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket, ada.socket() as other:
        ack = await socket.say(thread, "[[deltas=40]] [[tokens_per_s=50]]")
        await socket.until(lambda f: f.get("event", {}).get("type") == "TEXT_MESSAGE_CHUNK")
        await other.send(op="subscribe", threadId=thread)
        reset = await other.until(lambda frame: frame["op"] == "reset")
        await other.finished()
        await socket.finished()
    assert reset["run"]["runId"] == ack["runId"]
    assert [message["role"] for message in reset["messages"]] == ["user"]
    assert joined(other.events()) == joined(socket.events())
