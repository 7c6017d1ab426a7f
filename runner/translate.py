"""From the SDK's raw model events to AG-UI: pure rules, one translator per model call.

Order rules: facts of `@ag-ui/client` 1.0. Inside one response, text and tool calls share a message;
text after a tool call begins a new one. A sub-agent's text is START/CONTENT/END, because chunks of
parallel sub-agents would close each other's messages.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runner.outbox import delta_prefix
from shared.protocol.ids import new_id

#: How to give out an event, and a delta (type, prefix, text).
Emit = Callable[[dict[str, Any]], object]
EmitDelta = Callable[[str, str, str], object]

_TEXT = frozenset({"response.output_text.delta", "response.refusal.delta"})
_REASONING = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})


@dataclass(slots=True)
class _Call:
    """A tool call that is being written."""

    id: str
    name: str
    prefix: str
    arguments: list[str] = field(default_factory=list)
    ended: bool = False


class Translator:
    """Feed it raw events in order; `shown` gives the AG-UI messages made so far."""

    def __init__(
        self,
        emit: Emit,
        delta: EmitDelta,
        unique: Callable[[str], str],
        *,
        subagent: str | None = None,
    ) -> None:
        self._emit, self._delta, self._unique = emit, delta, unique
        self._inside = {"subagentRunId": subagent} if subagent else {}
        self._calls: dict[int, _Call] = {}
        self._message: dict[str, Any] | None = None  # the assistant message being written
        self._text_prefix: str | None = None
        self._text: list[str] = []
        self._reasoning: tuple[str, str] | None = None  # message id, prefix
        self._thought: list[str] = []
        self._shown: list[dict[str, Any]] = []

    def feed(self, event: Any) -> None:
        """Translate one raw event; types without a meaning for people are passed over."""
        kind = event.type
        if kind in _TEXT:
            self._write(event.delta)
        elif kind in _REASONING:
            self._think(event.delta)
        elif kind == "response.function_call_arguments.delta":
            self._argue(event.output_index, event.delta)
        elif kind == "response.output_item.added" and event.item.type == "function_call":
            self._begin_call(event.output_index, event.item)
        elif kind == "response.output_item.done" and event.item.type == "function_call":
            self._end_call(event.output_index, event.item)

    def call_id(self, output_index: int) -> str | None:
        """The unique id that was given to the call at a place of the output."""
        call = self._calls.get(output_index)
        return call.id if call else None

    def end(self) -> None:
        """The response is complete: close what is open."""
        self._end_reasoning()
        for call in self._calls.values():
            self._close_call(call)
        self._end_text()

    def shown(self) -> list[dict[str, Any]]:
        """Messages so far, half-written ones included, as a client shows them."""
        found = [*self._shown]
        if self._reasoning:
            found.append(self._reasoning_message())
        if self._message:
            found.append(self._assistant_message())
        return found

    # ------------------------------------------------------------------ text
    def _write(self, text: str) -> None:
        self._end_reasoning()
        if self._text_prefix is None:
            self._begin_text()
        self._text.append(text)
        kind = "TEXT_MESSAGE_CONTENT" if self._inside else "TEXT_MESSAGE_CHUNK"
        self._delta(kind, self._text_prefix or "", text)

    def _begin_text(self) -> None:
        if self._message is None or self._message.get("toolCalls"):
            self._new_message()
        id_ = (self._message or {})["id"]
        if self._inside:
            started = {"type": "TEXT_MESSAGE_START", "messageId": id_, "role": "assistant"}
            self._emit(started | self._inside)
            shape = {"type": "TEXT_MESSAGE_CONTENT", "messageId": id_} | self._inside
        else:
            shape = {"type": "TEXT_MESSAGE_CHUNK", "messageId": id_, "role": "assistant"}
        self._text_prefix = delta_prefix(shape)

    def _end_text(self) -> None:
        if self._text_prefix is not None and self._inside and self._message:
            ended = {"type": "TEXT_MESSAGE_END", "messageId": self._message["id"]}
            self._emit(ended | self._inside)
        self._text_prefix = None

    def _new_message(self) -> None:
        if self._message is not None:
            self._shown.append(self._assistant_message())
        self._message, self._text = {"id": new_id("msg"), "role": "assistant"}, []

    def _assistant_message(self) -> dict[str, Any]:
        message = dict(self._message or {})
        if self._text:
            message["content"] = "".join(self._text)
        return message

    # ------------------------------------------------------------------ reasoning
    def _think(self, text: str) -> None:
        if self._reasoning is None:
            self._begin_reasoning()
        assert self._reasoning is not None  # noqa: S101 - for the type checker
        self._thought.append(text)
        self._delta("REASONING_MESSAGE_CONTENT", self._reasoning[1], text)

    def _begin_reasoning(self) -> None:
        self._end_text()
        id_ = new_id("rsn")
        start = {"type": "REASONING_MESSAGE_START", "messageId": id_, "role": "reasoning"}
        self._emit({"type": "REASONING_START", "messageId": id_} | self._inside)
        self._emit(start | self._inside)
        shape = {"type": "REASONING_MESSAGE_CONTENT", "messageId": id_} | self._inside
        self._reasoning, self._thought = (id_, delta_prefix(shape)), []

    def _end_reasoning(self) -> None:
        if self._reasoning is None:
            return
        id_ = self._reasoning[0]
        self._emit({"type": "REASONING_MESSAGE_END", "messageId": id_} | self._inside)
        self._emit({"type": "REASONING_END", "messageId": id_} | self._inside)
        self._shown.append(self._reasoning_message())
        self._reasoning = None

    def _reasoning_message(self) -> dict[str, Any]:
        id_ = self._reasoning[0] if self._reasoning else ""
        return {"id": id_, "role": "reasoning", "content": "".join(self._thought)}

    # ------------------------------------------------------------------ calls
    def _begin_call(self, index: int, item: Any) -> None:
        self._end_reasoning()
        self._end_text()
        if self._message is None:
            self._new_message()
        message = self._message or {}
        call_id = self._unique(item.call_id)
        call = _Call(call_id, item.name, "")
        shape = {"type": "TOOL_CALL_ARGS", "toolCallId": call_id} | self._inside
        call.prefix = delta_prefix(shape)
        self._calls[index] = call
        function = {"name": item.name, "arguments": ""}
        message.setdefault("toolCalls", []).append(
            {"id": call_id, "type": "function", "function": function}
        )
        start = {
            "type": "TOOL_CALL_START",
            "toolCallId": call_id,
            "toolCallName": item.name,
            "parentMessageId": message["id"],
        }
        self._emit(start | self._inside)

    def _argue(self, index: int, text: str) -> None:
        call = self._calls.get(index)
        if call is None or call.ended or not text:
            return
        call.arguments.append(text)
        self._delta("TOOL_CALL_ARGS", call.prefix, text)

    def _end_call(self, index: int, item: Any) -> None:
        if index not in self._calls:
            self._begin_call(index, item)
        call = self._calls[index]
        if not call.arguments and item.arguments:
            self._argue(index, item.arguments)
        self._close_call(call)

    def _close_call(self, call: _Call) -> None:
        if call.ended:
            return
        call.ended = True
        for known in (self._message or {}).get("toolCalls", ()):
            if known["id"] == call.id:
                known["function"]["arguments"] = "".join(call.arguments)
        self._emit({"type": "TOOL_CALL_END", "toolCallId": call.id} | self._inside)
