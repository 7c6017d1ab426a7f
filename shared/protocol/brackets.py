"""What a stream of AG-UI events has opened and not closed: pure rules, for take-overs and closes.

The official client refuses RUN_FINISHED while a step, message, call or reasoning is open
(`verifyEvents` of `@ag-ui/client` 1.0), so whoever ends a run for another closes first.
"""

from collections.abc import Iterable
from typing import Any

#: opening type → (closing type, field that tells which one is meant)
PAIRS = {
    "STEP_STARTED": ("STEP_FINISHED", "stepName"),
    "TEXT_MESSAGE_START": ("TEXT_MESSAGE_END", "messageId"),
    "REASONING_START": ("REASONING_END", "messageId"),
    "REASONING_MESSAGE_START": ("REASONING_MESSAGE_END", "messageId"),
    "TOOL_CALL_START": ("TOOL_CALL_END", "toolCallId"),
    "SUBAGENT_STARTED": ("SUBAGENT_FINISHED", "subagentRunId"),
}
_CLOSES = {end: (start, field) for start, (end, field) in PAIRS.items()}

#: Types that matter here: a row of any other type need not be looked at.
BRACKETS = frozenset(PAIRS) | frozenset(_CLOSES)


class Brackets:
    """What is open after the events seen so far."""

    def __init__(self, events: Iterable[dict[str, Any]] = ()) -> None:
        self._open: dict[tuple[str, str, str], dict[str, Any]] = {}
        for event in events:
            self.see(event)

    def see(self, event: dict[str, Any]) -> None:
        """Take one event into account."""
        kind = event.get("type")
        if not isinstance(kind, str):  # somebody wrote it by hand
            return
        if kind in PAIRS:
            if isinstance(event.get(PAIRS[kind][1]), str):
                self._open[_key(kind, PAIRS[kind][1], event)] = event
        elif kind in _CLOSES:
            start, field = _CLOSES[kind]
            self._open.pop(_key(start, field, event), None)

    def still_open(self) -> list[dict[str, Any]]:
        """The opening events that no later event closed, in order."""
        return list(self._open.values())

    def closing(self) -> list[dict[str, Any]]:
        """The events that close what is open: the innermost, that is the newest, first."""
        return [_closes(event) for event in reversed(self.still_open())]


def _key(kind: str, field: str, event: dict[str, Any]) -> tuple[str, str, str]:
    inside = "" if field == "subagentRunId" else str(event.get("subagentRunId") or "")
    return kind, str(event.get(field)), inside


def _closes(event: dict[str, Any]) -> dict[str, Any]:
    end, field = PAIRS[event["type"]]
    closed = {"type": end, field: event[field]}
    if event.get("subagentRunId"):
        closed["subagentRunId"] = event["subagentRunId"]
    return closed
