"""Events as lines, and what clients before AG-UI 1.0 are told."""

from typing import Any

import orjson
import pytest

from gateway.agui.lines import for_older, line
from gateway.following import Happening

PARTS = [{"type": "text", "text": "one"}, {"type": "image"}, {"type": "text", "text": "two"}]
RESULT = {"type": "TOOL_CALL_RESULT", "messageId": "m", "toolCallId": "c"}
TOOL = {"id": "m", "role": "tool", "toolCallId": "c"}


def test_a_line_has_the_event_under_its_cursor() -> None:
    event = {"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "delta": "a\n\ndata: b\u2028c"}
    written = line(Happening(event, "3-17"), older=False).decode()
    id_, data = written.removesuffix("\n\n").split("\n")
    assert id_ == "id: 3-17"
    assert orjson.loads(data.removeprefix("data: ")) == event
    assert "\u2028" not in written
    assert line(Happening(event), older=False).startswith(b"data: ")


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"type": "SUBAGENT_STARTED", "subagentRunId": "s", "name": "n"}, None),
        ({"type": "TEXT_MESSAGE_CHUNK", "delta": "x", "subagentRunId": "s"}, None),
        (
            {"type": "RUN_FINISHED", "runId": "r", "outcome": {"type": "cancelled"}},
            {"type": "RUN_FINISHED", "runId": "r"},
        ),
        (
            {"type": "RUN_FINISHED", "outcome": {"type": "success"}},
            {"type": "RUN_FINISHED", "outcome": {"type": "success"}},
        ),
        (RESULT | {"content": PARTS}, RESULT | {"content": "one\ntwo"}),
        (RESULT | {"content": "one"}, RESULT | {"content": "one"}),
        (
            {"type": "MESSAGES_SNAPSHOT", "messages": [TOOL | {"content": PARTS}]},
            {"type": "MESSAGES_SNAPSHOT", "messages": [TOOL | {"content": "one\ntwo"}]},
        ),
    ],
)
def test_older_clients_are_told_what_they_understand(
    event: dict[str, Any], told: dict[str, Any] | None
) -> None:
    assert for_older(event) == told
    assert (line(Happening(event), older=True) == b"") is (told is None)
