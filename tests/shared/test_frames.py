"""Frames of `/realtime` as they are read and written."""

import json
from typing import Any

import pytest
from ag_ui.core import RunAgentInput
from pydantic import ValidationError

from shared.protocol.codes import MEANINGS, Code
from shared.protocol.frames import (
    CLIENT_FRAME,
    CLIENT_OPS,
    Cancel,
    Ping,
    Run,
    Subscribe,
    Unsubscribe,
    error_frame,
    event_frame,
    frame,
)
from shared.protocol.position import Position

INPUT = {"threadId": "t", "runId": "r", "messages": [], "tools": [], "context": [], "state": {},
         "forwardedProps": {}}  # fmt: skip

TAKEN: list[tuple[dict[str, Any], type[Any]]] = [
    ({"op": "subscribe", "id": "1", "threadId": "t"}, Subscribe),
    ({"op": "subscribe", "id": "1", "threadId": "t", "after": "1-2", "extra": 1}, Subscribe),
    ({"op": "unsubscribe", "id": "1", "threadId": "t"}, Unsubscribe),
    ({"op": "run", "id": "1", "input": INPUT}, Run),
    ({"op": "run", "id": "1", "input": INPUT, "agent": "A", "ifBusy": "steer"}, Run),
    ({"op": "cancel", "id": "1", "threadId": "t", "runId": "r"}, Cancel),
    ({"op": "ping", "id": "x" * 64}, Ping),
]

REFUSED: dict[str, dict[str, Any]] = {
    "no op": {"id": "1"},
    "an unknown op": {"op": "fly", "id": "1"},
    "an op that is no text": {"op": 1, "id": "1"},
    "no id": {"op": "ping"},
    "an empty id": {"op": "ping", "id": ""},
    "an id too long": {"op": "ping", "id": "x" * 65},
    "a number for an id": {"op": "ping", "id": 1},
    "null for an id": {"op": "ping", "id": None},
    "no thread": {"op": "subscribe", "id": "1"},
    "a thread with a line break": {"op": "subscribe", "id": "1", "threadId": "t\n"},
    "a thread with a slash": {"op": "subscribe", "id": "1", "threadId": "a/b"},
    "a cursor that is a number": {"op": "subscribe", "id": "1", "threadId": "t", "after": 1},
    "python's own names": {"op": "cancel", "id": "1", "thread_id": "t", "run_id": "r"},
    "an unknown ifBusy": {"op": "run", "id": "1", "input": INPUT, "ifBusy": "wait"},
    "no input": {"op": "run", "id": "1"},
    "an input that is a list": {"op": "run", "id": "1", "input": []},
    "an agent without a name": {"op": "run", "id": "1", "input": INPUT, "agent": ""},
}


@pytest.mark.parametrize(("sent", "kind"), TAKEN)
def test_each_op_becomes_its_own_type(sent: dict[str, Any], kind: type[Any]) -> None:
    assert isinstance(CLIENT_FRAME.validate_python(sent), kind)
    assert sent["op"] in CLIENT_OPS


def test_every_op_is_covered_here() -> None:
    assert {sent["op"] for sent, _ in TAKEN} == CLIENT_OPS


@pytest.mark.parametrize("case", REFUSED)
def test_a_frame_with_a_wrong_field_is_refused(case: str) -> None:
    with pytest.raises(ValidationError):
        CLIENT_FRAME.validate_python(REFUSED[case])


def test_a_run_is_enqueued_unless_it_says_otherwise() -> None:
    found = CLIENT_FRAME.validate_python({"op": "run", "id": "1", "input": INPUT})
    assert isinstance(found, Run)
    assert (found.if_busy, found.agent) == ("enqueue", None)
    assert isinstance(found.input, RunAgentInput)


def test_an_event_frame_carries_the_events_own_text() -> None:
    event = '{"type":"CUSTOM","name":"x","value":1.50}'
    text = event_frame('"thr_1"', Position(3, 17), event)
    assert event in text
    assert json.loads(text) == {
        "op": "event", "threadId": "thr_1", "id": "3-17", "event": json.loads(event),
    }  # fmt: skip


def test_other_frames_speak_camel_case_and_leave_out_what_is_not_there() -> None:
    written = json.loads(frame("ack", id="1", run_id="r", queued=None))
    assert written == {"op": "ack", "id": "1", "runId": "r"}


@pytest.mark.parametrize("code", Code)
def test_every_error_says_whether_trying_again_can_help(code: Code) -> None:
    written = json.loads(error_frame(code, "Why.", id="1"))
    assert written == {
        "op": "error", "id": "1", "code": code.value, "message": "Why.",
        "retryable": MEANINGS[code].retryable,
    }  # fmt: skip


def test_every_code_has_a_meaning_with_a_status_and_a_sentence() -> None:
    assert set(MEANINGS) == set(Code)
    for meaning in MEANINGS.values():
        assert 400 <= meaning.status < 600
        assert meaning.text.endswith(".")
