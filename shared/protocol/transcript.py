"""From a run's events to the messages that they leave in the conversation, as clients show it.

The rules are those of the official reducer (`@ag-ui/client` 1.0); a test compares the two.
"""

import copy
from collections.abc import Iterable
from contextlib import suppress
from typing import Any


def messages_of(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages that the events of one run make, the person's own excluded, oldest first.

    What somebody has altered by hand is passed over where it makes no sense.
    """
    transcript = Transcript()
    for event in events:
        with suppress(KeyError, TypeError, AttributeError):
            transcript.add(event)
    return [one for one in transcript.messages if _storable_id(one["id"])]


def _storable_id(id_: Any) -> bool:
    return isinstance(id_, str) and "\0" not in id_


def has_failed(result: dict[str, Any]) -> bool:
    """Whether a TOOL_CALL_RESULT, or its message, is what the model was told of a failure."""
    ours = (result.get("metadata") or {}).get("baton") or {}
    return ours.get("failed") is True


class Transcript:
    """Messages so far; feed it events in order. Sub-agents' inner messages are left out."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._calls: dict[str, dict[str, Any]] = {}

    def add(self, event: dict[str, Any]) -> None:
        """Take one event into account; types without messages are passed over."""
        if event.get("subagentRunId"):
            return
        match event["type"]:
            case "TEXT_MESSAGE_CHUNK" | "TEXT_MESSAGE_CONTENT" | "TEXT_MESSAGE_START":
                self._text(event, "assistant")
            case "REASONING_MESSAGE_START" | "REASONING_MESSAGE_CONTENT":
                self._text(event, "reasoning")
            case "TOOL_CALL_START":
                self._call(event)
            case "TOOL_CALL_ARGS":
                if call := self._calls.get(event["toolCallId"]):
                    call["function"]["arguments"] += event["delta"]
            case "TOOL_CALL_RESULT":
                self._result(event)
            case "ACTIVITY_SNAPSHOT":
                message = self._message(event["messageId"], "activity")
                message |= {
                    "activityType": event["activityType"],
                    "content": copy.deepcopy(event["content"]),
                }
            case "MESSAGES_SNAPSHOT":
                self._withdraw(event["messages"])

    def _text(self, event: dict[str, Any], role: str) -> None:
        message = self._message(event["messageId"], role)
        message["content"] = (message.get("content") or "") + (event.get("delta") or "")
        if "metadata" in event:
            message["metadata"] = {**message.get("metadata", {}), **event["metadata"]}

    def _call(self, event: dict[str, Any]) -> None:
        owner = event.get("parentMessageId") or event["toolCallId"]
        message = self._message(owner, "assistant")
        call = {
            "id": event["toolCallId"],
            "type": "function",
            "function": {"name": event["toolCallName"], "arguments": ""},
        }
        message.setdefault("toolCalls", []).append(call)
        self._calls[event["toolCallId"]] = call

    def _result(self, event: dict[str, Any]) -> None:
        message = {
            "id": event["messageId"],
            "role": "tool",
            "toolCallId": event["toolCallId"],
            "content": event["content"],
        }
        if "metadata" in event:
            message["metadata"] = event["metadata"]
        self.messages.append(message)

    def _message(self, id_: str, role: str) -> dict[str, Any]:
        known: dict[str, Any]
        for known in reversed(self.messages):
            if known["id"] == id_:
                return known
        message: dict[str, Any] = {"id": id_, "role": role}
        self.messages.append(message)
        return message

    def _withdraw(self, restated: list[dict[str, Any]]) -> None:
        """A snapshot takes back what it does not restate (half-written text and calls)."""
        # Copies: later deltas must not change the snapshot they came from.
        kept = {message["id"]: copy.deepcopy(message) for message in restated}
        self.messages = [kept[message["id"]] for message in self.messages if message["id"] in kept]
        self._calls = {
            call["id"]: call for message in self.messages for call in message.get("toolCalls", ())
        }
