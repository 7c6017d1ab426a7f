"""What is open, and how it is closed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.brackets import PAIRS, Brackets


def opening(kind: str, name: str, inside: str | None) -> dict[str, Any]:
    event = {"type": kind, PAIRS[kind][1]: name}
    return event | ({"subagentRunId": inside} if inside and kind != "SUBAGENT_STARTED" else {})


def closing(kind: str, name: str, inside: str | None) -> dict[str, Any]:
    return opening(kind, name, inside) | {"type": PAIRS[kind][0]}


PARTS = st.tuples(
    st.sampled_from(sorted(PAIRS)), st.sampled_from("ab"), st.sampled_from([None, "s", "t"])
)
EVENTS = st.lists(
    st.builds(lambda part: opening(*part), PARTS) | st.builds(lambda part: closing(*part), PARTS)
)


@given(EVENTS)
def test_after_the_closing_events_nothing_is_open(events: list[dict[str, Any]]) -> None:
    brackets = Brackets(events)
    closed = brackets.closing()
    assert len(closed) == len(brackets.still_open())
    assert Brackets([*events, *closed]).still_open() == []


def test_the_innermost_is_closed_first() -> None:
    brackets = Brackets(
        [
            {"type": "STEP_STARTED", "stepName": "A"},
            {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "x"},
            {
                "type": "SUBAGENT_STARTED",
                "subagentRunId": "s",
                "name": "B",
                "parentToolCallId": "c1",
            },
            {"type": "STEP_STARTED", "stepName": "A", "subagentRunId": "s"},
            {"type": "REASONING_START", "messageId": "r", "subagentRunId": "s"},
        ]
    )
    assert brackets.closing() == [
        {"type": "REASONING_END", "messageId": "r", "subagentRunId": "s"},
        {"type": "STEP_FINISHED", "stepName": "A", "subagentRunId": "s"},
        {"type": "SUBAGENT_FINISHED", "subagentRunId": "s"},
        {"type": "TOOL_CALL_END", "toolCallId": "c1"},
        {"type": "STEP_FINISHED", "stepName": "A"},
    ]


def test_equal_names_in_two_sub_agents_are_two_brackets() -> None:
    inside, outside = opening("STEP_STARTED", "A", "s"), opening("STEP_STARTED", "A", None)
    assert Brackets([inside, outside, closing("STEP_STARTED", "A", "s")]).still_open() == [outside]


def test_what_opens_and_closes_nothing_is_passed_over() -> None:
    others: list[dict[str, Any]] = [
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "delta": "x"},
        {"type": "RUN_STARTED"},
        {"type": "STEP_FINISHED", "stepName": "never begun"},
        {},
    ]
    assert Brackets(others).closing() == []


@pytest.mark.parametrize(
    "event",
    [{}, {"type": []}, {"type": "STEP_STARTED"}, {"type": "TOOL_CALL_START", "toolCallId": {}},
     {"type": "TEXT_MESSAGE_END", "messageId": []}],
)  # fmt: skip
def test_what_is_no_event_opens_and_closes_nothing(event: dict[str, Any]) -> None:
    opened = opening("STEP_STARTED", "a", None)
    assert Brackets([opened, event]).still_open() == [opened]
