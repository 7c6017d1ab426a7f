"""The rules of one socket, without I/O: what comes in, and what is done about it."""

import json
from typing import Any

import pytest

from gateway.connection import (
    FRAMES_BURST,
    FRAMES_PER_S,
    Action,
    CloseWith,
    Connection,
    Perform,
    Send,
    cursor_of,
)
from shared.protocol.codes import Close, Code
from shared.protocol.frames import HEARTBEAT_LIMIT_MS, MAX_FRAME_BYTES
from shared.protocol.position import START, Position
from shared.wording import MOST_CHARS

LIMIT_S = HEARTBEAT_LIMIT_MS / 1000
NOTHING: dict[str, Any] = {"messages": [], "threadId": "t", "runId": "r"}


def connection(**more: Any) -> Connection:
    return Connection(**{"now": 0.0, "expires_at": None} | more)


def say(frame: Any, *, to: Connection | None = None, now: float = 0.0) -> Action:
    message = frame if isinstance(frame, str | bytes | None) else json.dumps(frame)
    return (to or connection()).received(message, now=now)


def answered(action: Action) -> dict[str, Any]:
    assert isinstance(action, Send)
    found: dict[str, Any] = json.loads(action.frame)
    return found


# ---------------------------------------------------------------------- what is understood
def test_a_ping_is_answered_at_once() -> None:
    assert answered(say({"op": "ping", "id": "p"})) == {"op": "pong", "id": "p"}


@pytest.mark.parametrize(
    ("frame", "fields"),
    [
        ({"op": "subscribe", "id": "1", "threadId": "t"}, {"thread_id": "t", "after": None}),
        ({"op": "subscribe", "id": "1", "threadId": "t", "after": "3-7"}, {"after": "3-7"}),
        ({"op": "subscribe", "id": "1", "threadId": "t", "after": None}, {"after": None}),
        ({"op": "unsubscribe", "id": "1", "threadId": "t"}, {"thread_id": "t"}),
        ({"op": "cancel", "id": "1", "threadId": "t", "runId": "r"}, {"run_id": "r"}),
        ({"op": "run", "id": "1", "input": NOTHING}, {"agent": None, "if_busy": "enqueue"}),
        ({"op": "run", "id": "1", "input": NOTHING, "ifBusy": "reject"}, {"if_busy": "reject"}),
        ({"op": "run", "id": "1", "input": NOTHING, "agent": "A"}, {"agent": "A"}),
    ],
)
def test_what_needs_stores_is_handed_on(frame: Any, fields: dict[str, Any]) -> None:
    action = say(frame | {"a field of tomorrow": 1})
    assert isinstance(action, Perform)
    assert {name: getattr(action.frame, name) for name in fields} == fields


# ---------------------------------------------------------------------- what ends the socket
@pytest.mark.parametrize(
    "message",
    [
        None,
        b'{"op":"ping","id":"p"}',
        "",
        "hello",
        "[]",
        '"ping"',
        "1",
        "null",
        "{",
        '{"op":"ping","id":"p"} x',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"op":"ping","id":"p","x":NaN}',
        '{"op":"ping","id":"p","x":-Infinity}',
        '{"op":"ping","id":"p","x":1e999}',
        '{"op":"ping","id":"p","x":123456789012345678901234567890}',
        '{"op":"ping","id":"p","op":"ping"}',
        '{"op":"ping","id":"\\ud800"}',
        '{"op":"ping","id":"\ud800"}',
        '{"op":"ping","id":"p\\u0000"}',
        '{"op":"ping","id":"p\x00"}',
    ],
    ids=lambda message: repr(message)[:40],
)
def test_what_is_no_json_object_ends_the_socket(message: str | bytes | None) -> None:
    ending = say(message)
    assert isinstance(ending, CloseWith)
    assert ending.code is Close.BAD_FRAME
    assert len(ending.why.encode()) <= 123  # RFC 6455, 5.5


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_a_frame_may_have_a_mebibyte(letter: str) -> None:
    head, tail = '{"op":"ping","id":"p","x":"', '"}'
    room = MAX_FRAME_BYTES - len(head) - len(tail)
    fits = head + letter * (room // len(letter.encode())) + tail
    assert answered(say(fits))["op"] == "pong"
    ending = say(fits[:-2] + letter * 2 + tail)
    assert isinstance(ending, CloseWith)
    assert ending.code is Close.TOO_BIG


def test_too_many_frames_end_the_socket_and_a_steady_pace_does_not() -> None:
    rules, ping = connection(), '{"op":"ping","id":"p"}'
    burst = [rules.received(ping, now=1.0) for _ in range(FRAMES_BURST + 1)]
    assert all(isinstance(action, Send) for action in burst[:-1])
    assert burst[-1] == CloseWith(Close.TOO_SLOW, "too many frames")
    steady = connection()
    for number in range(5 * FRAMES_BURST):
        assert isinstance(steady.received(ping, now=number / FRAMES_PER_S), Send)


def test_what_was_saved_up_is_never_more_than_a_burst() -> None:
    rules, ping = connection(), '{"op":"ping","id":"p"}'
    actions = [rules.received(ping, now=10_000.0) for _ in range(FRAMES_BURST + 1)]
    assert isinstance(actions[-1], CloseWith)


# ---------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    "op", ["", "Ping", "event", "welcome", "ack", "reset", None, 1, True, [], {}, ["ping"]]
)
def test_an_unknown_op_is_refused_and_the_socket_stays(op: Any) -> None:
    rules = connection()
    refused = answered(say({"op": op, "id": "1"}, to=rules))
    assert (refused["code"], refused["id"]) == (Code.UNKNOWN_OP, "1")
    assert answered(say({"op": "ping", "id": "2"}, to=rules))["op"] == "pong"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"op": "ping"}, "id"),
    ({"op": "ping", "id": 1}, "id"),
    ({"op": "ping", "id": ""}, "id"),
    ({"op": "ping", "id": "x" * 65}, "id"),
    ({"op": "ping", "id": None}, "id"),
    ({"op": "subscribe", "id": "1"}, "threadId"),
    ({"op": "subscribe", "id": "1", "thread_id": "t"}, "threadId"),
    ({"op": "subscribe", "id": "1", "threadId": 1}, "threadId"),
    ({"op": "subscribe", "id": "1", "threadId": "../t"}, "threadId"),
    ({"op": "subscribe", "id": "1", "threadId": "t" * 65}, "threadId"),
    ({"op": "subscribe", "id": "1", "threadId": "t\n"}, "threadId"),
    ({"op": "subscribe", "id": "1", "threadId": "t", "after": 3}, "after"),
    ({"op": "subscribe", "id": "1", "threadId": "t", "after": ["3-1"]}, "after"),
    ({"op": "unsubscribe", "id": "1"}, "threadId"),
    ({"op": "cancel", "id": "1", "threadId": "t"}, "runId"),
    ({"op": "cancel", "id": "1", "runId": "r"}, "threadId"),
    ({"op": "cancel", "id": "1", "threadId": "t", "runId": "r/../s"}, "runId"),
    ({"op": "run", "id": "1"}, "input"),
    ({"op": "run", "id": "1", "input": []}, "input"),
    ({"op": "run", "id": "1", "input": {}}, "input.threadId"),
    ({"op": "run", "id": "1", "input": NOTHING | {"messages": "hello"}}, "input.messages"),
    ({"op": "run", "id": "1", "input": NOTHING, "agent": ""}, "agent"),
    ({"op": "run", "id": "1", "input": NOTHING, "agent": "A" * 129}, "agent"),
    ({"op": "run", "id": "1", "input": NOTHING, "ifBusy": "now"}, "ifBusy"),
    ({"op": "run", "id": "1", "input": NOTHING, "ifBusy": None}, "ifBusy"),
]


@pytest.mark.parametrize(("frame", "field"), WRONG, ids=lambda value: str(value)[:60])
def test_a_field_that_is_missing_or_wrong_is_named(frame: dict[str, Any], field: str) -> None:
    refused = answered(say(frame))
    assert (refused["op"], refused["code"]) == ("error", Code.BAD_INPUT)
    assert refused["message"].startswith(f"{field}: ")
    assert refused["retryable"] is False
    assert refused.get("id") == ("1" if frame.get("id") == "1" else None)


def test_a_refusal_quotes_little_of_what_was_sent() -> None:
    role = "r" * 500_000
    message = {"id": "m", "role": role, "content": "x"}
    refused = answered(say({"op": "run", "id": "1", "input": NOTHING | {"messages": [message]}}))
    assert refused["code"] == Code.BAD_INPUT
    assert len(refused["message"]) <= MOST_CHARS + 1


# ---------------------------------------------------------------------- what the clock says
def test_silence_ends_the_socket_and_any_frame_breaks_it() -> None:
    rules = connection()
    assert rules.overdue(now=LIMIT_S) is None
    say({"op": "ping", "id": "p"}, to=rules, now=LIMIT_S)
    assert rules.overdue(now=2 * LIMIT_S) is None
    ending = rules.overdue(now=2 * LIMIT_S + 0.1)
    assert ending is not None
    assert ending.code is Close.HEARTBEAT_MISSED


def test_a_sign_in_that_ends_ends_the_socket_however_busy_it_is() -> None:
    rules = connection(expires_at=10.0)
    say({"op": "ping", "id": "p"}, to=rules, now=9.9)
    assert rules.overdue(now=9.9) is None
    ending = rules.overdue(now=10.0)
    assert ending is not None
    assert ending.code is Close.NOT_SIGNED_IN


# ---------------------------------------------------------------------- cursors
@pytest.mark.parametrize(
    ("text", "position"),
    [(None, None), ("0-0", START), ("3-17", Position(3, 17)), ("9-9999999999", (9, 9999999999))],
)
def test_a_cursor_is_read(text: str | None, position: Any) -> None:
    assert cursor_of(text) == position


@pytest.mark.parametrize(
    "text", ["", "3", "3-", "-3", "3-4-5", "03-4", "3-04", "+3-4", "3-4 ", "3-4\n", "٣-٤", "1" * 99]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        cursor_of(text)
