"""Everything that no client should send, over a real socket: refused in words, nothing stored."""

import json
from typing import Any

import pytest
from ag_ui_validate.pytest_plugin import assert_valid_agui

from shared.protocol.frames import MAX_FRAME_BYTES
from shared.protocol.ids import new_id, new_thread_id
from stack.running import Stack
from tests.scenarios.client import Frame, Person, Socket, closed
from tests.scenarios.sql import select

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

TABLES = ("threads", "messages", "runs", "events", "steps", "effects", "spans", "notes")


async def stored(stack: Stack) -> tuple[Any, ...]:
    """How many rows there are of everything a conversation leaves behind."""
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)
    (found,) = await select(stack, f"SELECT {counts}")
    return found


async def assert_lives(socket: Socket) -> None:
    assert (await socket.answer(await socket.send(op="ping")))["op"] == "pong"


def message(content: Any = "hello", **more: Any) -> Frame:
    return {"id": new_id("usr"), "role": "user", "content": content} | more


def run(*messages: Frame, **more: Any) -> Frame:
    """A `run` of a thread that does not exist; `more` goes into its input."""
    given = {"threadId": new_thread_id(), "runId": new_id("run"), "messages": list(messages)}
    return {"op": "run", "agent": "Assistant", "input": given | more}


# ---------------------------------------------------------------------- what ends the socket
@pytest.mark.parametrize(
    "sent",
    [
        "hello",
        "",
        "[]",
        '[{"op":"ping","id":"p"}]',
        '"ping"',
        b'{"op":"ping","id":"p"}',
        b"\x00\xff",
        "[" * 100_000,
        '{"op":"run","id":"p","input":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"op":"ping","id":"p","x":NaN}',
        '{"op":"ping","id":"p","x":Infinity}',
        '{"op":"ping","id":"p","x":1e999}',
        '{"op":"ping","id":"p","id":"p"}',
        '{"op":"ping","id":"\\ud800"}',
        '{"op":"ping","id":"\\udc00\\ud800"}',
        '{"op":"ping","id":"p\\u0000"}',
    ],
    ids=lambda sent: repr(sent)[:40],
)
async def test_what_is_no_json_object_closes_that_socket_alone(
    ada: Person, stack: Stack, sent: str | bytes
) -> None:
    before = await stored(stack)
    async with ada.socket() as socket, ada.socket() as other:
        await socket.raw.send(sent)
        assert await closed(socket) == 4400
        await assert_lives(other)
    assert await stored(stack) == before


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_frame_over_a_mebibyte_closes_the_socket(
    ada: Person, stack: Stack, pieces: int
) -> None:
    before = await stored(stack)
    text = '{"op":"ping","id":"p","x":"' + "x" * MAX_FRAME_BYTES + '"}'
    size = len(text) // pieces + 1
    async with ada.socket() as socket:
        await socket.next()
        await socket.raw.send([text[at : at + size] for at in range(0, len(text), size)])
        assert await closed(socket) == 1009
    assert await stored(stack) == before


async def test_a_run_of_nearly_a_mebibyte_is_taken(ada: Person) -> None:
    async with ada.socket() as socket:
        said = run(message("[[deltas=1]] " + "x" * (MAX_FRAME_BYTES - 4096)))
        ack = await socket.answer(await socket.send(**said))
        assert ack["op"] == "ack"
        end = await socket.finished()
        assert end["event"]["runId"] == ack["runId"]
        await assert_lives(socket)
    assert_valid_agui([frame["event"] for frame in socket.events()])


# ---------------------------------------------------------------------- what is refused
MEDIA = {"type": "image", "source": {"type": "url", "value": "http://127.0.0.1:1/x.png"}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}

REFUSED: dict[str, tuple[Frame, str]] = {
    "no op": ({}, "unknown_op"),
    "unknown op": ({"op": "drop"}, "unknown_op"),
    "op is a list": ({"op": ["ping"]}, "unknown_op"),
    "op is an object": ({"op": {"ping": 1}}, "unknown_op"),
    "a server's event": (
        {"op": "event", "threadId": "t", "event": {"type": "RUN_FINISHED"}},
        "unknown_op",
    ),
    "a server's reset": ({"op": "reset", "threadId": "t", "cursor": "0-0"}, "unknown_op"),
    "an AG-UI event": ({"type": "RUN_STARTED", "threadId": "t", "runId": "r"}, "unknown_op"),
    "subscribe to nothing": ({"op": "subscribe"}, "bad_input"),
    "subscribe to a number": ({"op": "subscribe", "threadId": 7}, "bad_input"),
    "subscribe by path": ({"op": "subscribe", "threadId": "../threads/x"}, "bad_input"),
    "subscribe to a huge id": ({"op": "subscribe", "threadId": "t" * 500_000}, "bad_input"),
    "subscribe to unknown": ({"op": "subscribe", "threadId": "t_unknown"}, "not_found"),
    "subscribe after a number": ({"op": "subscribe", "threadId": "t", "after": 1}, "bad_input"),
    "unsubscribe from nothing": ({"op": "unsubscribe"}, "bad_input"),
    "unsubscribe from unknown": ({"op": "unsubscribe", "threadId": "t_unknown"}, "not_found"),
    "cancel nothing": ({"op": "cancel", "threadId": "t"}, "bad_input"),
    "cancel a list": ({"op": "cancel", "threadId": "t", "runId": ["r"]}, "bad_input"),
    "cancel unknown": ({"op": "cancel", "threadId": "t", "runId": "r_unknown"}, "not_found"),
    "cancel by path": ({"op": "cancel", "threadId": "t", "runId": "../r"}, "bad_input"),
    "run nothing": ({"op": "run"}, "bad_input"),
    "run a text": ({"op": "run", "input": "hello"}, "bad_input"),
    "run without messages": (run(), "bad_input"),
    "run by path": (run(message(), runId="../../r"), "bad_input"),
    "run with a huge id": (run(message(), runId="r" * 500_000), "bad_input"),
    "run in a thread by path": (run(message(), threadId="../t"), "bad_input"),
    "run without an id": (run(message(), runId=""), "bad_input"),
    "run of a new thread without agent": (run(message()) | {"agent": None}, "bad_input"),
    "run of an unknown agent": (run(message()) | {"agent": "Nobody"}, "unknown_agent"),
    "run of an agent by path": (run(message()) | {"agent": "../Assistant"}, "unknown_agent"),
    "run in an unknown mood": (run(message()) | {"ifBusy": "shout"}, "bad_input"),
    "run with rollback": (run(message()) | {"ifBusy": "rollback"}, "not_supported"),
    "run with a resume without an answer": (
        run(message(), resume=[{"interruptId": "i", "status": "resolved"}]),
        "bad_input",
    ),
    "run with an answer that nobody asked for": (
        run(resume=[{"interruptId": "i", "status": "cancelled"}]),
        "not_found",
    ),
    "an assistant's message": (run(message(role="assistant")), "bad_input"),
    "an assistant's call": (run(message(role="assistant", toolCalls=[CALL])), "bad_input"),
    "a tool's message": (run(message(role="tool", toolCallId="c")), "bad_input"),
    "a system's message": (run(message(role="system")), "bad_input"),
    "a developer's message": (run(message(role="developer")), "bad_input"),
    "an unknown role": (run(message(role="root")), "bad_input"),
    "a foreign role among ours": (run(message(), message(role="system")), "bad_input"),
    "no text": (run(message("")), "bad_input"),
    "white text": (run(message(" \n\t")), "bad_input"),
    "no content": (run({"id": "m", "role": "user"}), "bad_input"),
    "content of numbers": (run(message(7)), "bad_input"),
    "an image elsewhere": (run(message([{"type": "text", "text": "look"}, MEDIA])), "url_refused"),
    "an unknown part": (run(message([{"type": "hologram"}])), "bad_input"),
    "a message by path": (run(message(id="../m")), "bad_input"),
    "a message with a huge id": (run(message(id="m" * 100_000)), "bad_input"),
    "one message twice": (run(message(id="m"), message(id="m")), "bad_input"),
    "99 levels": (run(message(), state=json.loads("[" * 90 + "]" * 90)), ""),
}


@pytest.mark.parametrize("name", [name for name, (_, code) in REFUSED.items() if code])
async def test_what_is_refused_is_refused_in_words_and_leaves_nothing(
    ada: Person, stack: Stack, name: str
) -> None:
    sent, code = REFUSED[name]
    before = await stored(stack)
    async with ada.socket() as socket:
        refused = await socket.answer(await socket.send(**sent))
        assert (refused["op"], refused["code"]) == ("error", code)
        assert 0 < len(refused["message"]) < 400
        assert "Traceback" not in refused["message"]
        await assert_lives(socket)
    assert await stored(stack) == before
    assert socket.events() == []


@pytest.mark.parametrize(
    "after",
    ["", "x", "1", "1-", "-1", "1-1-1", "01-1", "1-01", " 1-1", "1-1\n", "$", "99-1", "1" * 99],
)
async def test_a_cursor_that_is_malformed_or_in_the_future_is_refused(
    ada: Person, stack: Stack, after: str
) -> None:
    thread = new_thread_id()
    made = await ada.http.post("/api/threads", json={"agent": "Assistant", "id": thread})
    assert made.status_code == 201
    before = await stored(stack)
    async with ada.socket() as socket:
        refused = await socket.answer(
            await socket.send(op="subscribe", threadId=thread, after=after)
        )
        assert (refused["op"], refused["code"]) == ("error", "bad_cursor")
        await assert_lives(socket)
    assert await stored(stack) == before


async def test_a_cursor_behind_the_end_of_its_fence_gets_a_reset(ada: Person) -> None:
    """It may be one that Redis showed and lost, so it is not refused."""
    thread = new_thread_id()
    async with ada.socket() as socket:
        await socket.say(thread, "hello")
        end = await socket.finished()
        fence = end["id"].partition("-")[0]
        await socket.send(op="subscribe", threadId=thread, after=f"{fence}-999999")
        reset = await socket.until(lambda frame: frame["op"] == "reset")
        live = await socket.until(lambda frame: frame["op"] == "live")
    assert reset["cursor"] == live["cursor"] == end["id"]


# ---------------------------------------------------------------------- other people's things
async def test_another_persons_thread_is_as_unknown_as_one_that_nobody_has(
    ada: Person, stack: Stack
) -> None:
    thread = new_thread_id()
    bob = await Person(ada.url, f"{new_id('bob')}@example.com").sign_in()
    async with ada.socket() as hers, bob.socket() as his:
        ack = await hers.say(thread, "hello")
        await hers.finished()
        before = await stored(stack)
        for op in ("subscribe", "unsubscribe", "cancel"):
            answers = []
            for thread_id, run_id in ((thread, ack["runId"]), ("t_unknown", "r_unknown")):
                fields = {"threadId": thread_id} | ({"runId": run_id} if op == "cancel" else {})
                answers.append(await his.answer(await his.send(op=op, id="1", **fields)))
            assert answers[0] == answers[1]
            assert answers[0]["code"] == "not_found"
        refused = await his.answer(
            await his.send(op="subscribe", threadId=thread, after=hers.events()[-1]["id"])
        )
        assert refused["code"] == "not_found"
        assert await stored(stack) == before
        await assert_lives(his)
    await bob.http.aclose()


async def test_another_persons_thread_id_is_an_id_of_ones_own(ada: Person) -> None:
    thread = new_thread_id()
    bob = await Person(ada.url, f"{new_id('bob')}@example.com").sign_in()
    async with ada.socket() as hers, bob.socket() as his:
        await hers.say(thread, "my secret is mellifluous")
        await hers.finished()
        await his.say(thread, "hello")
        await his.finished()
        await hers.answer(await hers.send(op="ping"))
    assert "mellifluous" not in json.dumps(his.frames)
    assert len({frame["event"].get("runId") for frame in hers.events()} - {None}) == 1
    texts = [one["content"] for one in (await bob.get(f"/api/threads/{thread}/messages"))["data"]]
    assert texts[0] == "hello"
    await bob.http.aclose()


# ---------------------------------------------------------------------- repeated and long input
async def test_a_run_that_is_sent_twice_is_one_run(ada: Person, stack: Stack) -> None:
    said = run(message())
    async with ada.socket() as socket, ada.socket(url=stack.gateway_urls[1]) as other:
        first = await socket.answer(await socket.send(**said))
        await socket.finished()
        before = await stored(stack)
        again = await socket.answer(await socket.send(**said))
        elsewhere = await other.answer(await other.send(**said))
        assert first["runId"] == again["runId"] == elsewhere["runId"]
        changed = said | {"input": said["input"] | {"messages": [message("something else")]}}
        refused = await socket.answer(await socket.send(**changed))
        assert (refused["op"], refused["code"]) == ("error", "conflict")
        await assert_lives(socket)
        assert await stored(stack) == before


async def test_messages_that_the_thread_holds_are_ignored(ada: Person, stack: Stack) -> None:
    """Stock AG-UI clients send the whole history each time."""
    thread = new_thread_id()
    async with ada.socket() as socket:
        await socket.say(thread, "Please set my display name to Ada in my profile")
        await socket.finished()
        held = (await ada.get(f"/api/threads/{thread}/messages"))["data"]
        assert {one["role"] for one in held} >= {"user", "assistant"}
        new = message("and now?")
        ack = await socket.answer(await socket.send(**run(*held, new, threadId=thread)))
        assert ack["op"] == "ack"
        await socket.finished()
        again = (await ada.get(f"/api/threads/{thread}/messages"))["data"]
        assert again[: len(held)] == held
        assert [one["id"] for one in again[len(held) :] if one["role"] == "user"] == [new["id"]]
        before = await stored(stack)
        nothing_new = await socket.answer(await socket.send(**run(*held, threadId=thread)))
        assert nothing_new["code"] == "bad_input"
        assert await stored(stack) == before
    assert_valid_agui([frame["event"] for frame in socket.events()])


async def test_ten_thousand_messages_are_stored_once(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    many = [{"id": f"m{n}", "role": "user", "content": "[[deltas=1]]"} for n in range(10_000)]
    async with ada.socket() as socket:
        ack = await socket.answer(await socket.send(**run(*many, threadId=thread)))
        assert ack["op"] == "ack"
        await socket.finished()
        more = message("[[deltas=1]]")
        await socket.answer(await socket.send(**run(*many, more, threadId=thread)))
        await socket.finished()
        await assert_lives(socket)
    query = (
        "SELECT count(*) FROM messages JOIN threads ON threads.id = thread_id"
        " WHERE public_id = %s AND role = 'user'"
    )
    assert await select(stack, query, thread) == [(10_001,)]
    assert_valid_agui([frame["event"] for frame in socket.events()])
