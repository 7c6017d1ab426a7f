"""From the SDK's raw model events to AG-UI: pure rules, one translator per model call.

The order is what `@ag-ui/client` 1.0 accepts. Inside one response, text and tool calls share a
message; text after a tool call, and anything after reasoning, begins a new one. A sub-agent's text
is START/CONTENT/END, because chunks of parallel sub-agents would close each other's messages.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from runner.outbox import delta_prefix
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import new_id

#: How to give out an event, and a delta (type, prefix, text).
Emit = Callable[[dict[str, Any]], object]
EmitDelta = Callable[[str, str, str], object]

_REFUSAL = "response.refusal.delta"
_TEXT = frozenset({"response.output_text.delta", _REFUSAL})
#: What tells the text of a refusal from any other.
_REASONING = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
ARGUMENTS = "response.function_call_arguments.delta"
#: All deltas that mean something here.
DELTAS = frozenset({*_TEXT, *_REASONING, ARGUMENTS})


#: Items of a response that are calls of tools, which are carried out here.
CALLS = frozenset(
    {"function_call", "custom_tool_call", "shell_call", "local_shell_call", "apply_patch_call"}
)


@dataclass(slots=True)
class _Call:
    """A tool call that is being written."""

    id: str
    name: str
    prefix: str
    arguments: list[str] = field(default_factory=list)
    ended: bool = False

    def shown(self) -> dict[str, Any]:
        function = {"name": self.name, "arguments": "".join(self.arguments)}
        return {"id": self.id, "type": "function", "function": function}


@dataclass(slots=True)
class _Message:
    """A message that is being written, or was."""

    id: str
    role: str
    refusal: bool = False
    #: Why its model ended it before its end.
    incomplete: str | None = None
    text: list[str] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        message: dict[str, Any] = {"id": self.id, "role": self.role}
        if about := self.metadata():
            message["metadata"] = about
        if self.text or self.role == "reasoning":
            message["content"] = "".join(self.text)
        if self.calls:
            message["toolCalls"] = [call.shown() for call in self.calls]
        return message

    def metadata(self) -> dict[str, Any]:
        """What is to be known of it besides its text."""
        about: dict[str, Any] = {"refusal": True} if self.refusal else {}
        about |= {"incomplete": self.incomplete} if self.incomplete else {}
        return {"baton": about} if about else {}


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
        self._messages: list[_Message] = []  # in the order in which clients see them
        self._message: _Message | None = None  # the assistant message being written
        self._text_prefix: str | None = None
        self._reasoning: _Message | None = None
        self._reasoning_prefix = ""

    def feed(self, event: Any) -> None:
        """Translate one raw event; types without a meaning for people are passed over."""
        kind = event.type
        if kind in _TEXT:
            self._write(event.delta, refusal=kind == _REFUSAL)
        elif kind in _REASONING:
            self._think(event.delta)
        elif kind == ARGUMENTS:
            self._argue(event.output_index, event.delta)
        elif kind == "response.output_item.added" and event.item.type == "function_call":
            self._begin_call(event.output_index, event.item.call_id, event.item.name)
        elif kind == "response.output_item.done" and event.item.type in CALLS:
            self._end_call(event.output_index, event.item)

    def call_id(self, output_index: int) -> str | None:
        """The unique id that was given to the call at a place of the output."""
        call = self._calls.get(output_index)
        return call.id if call else None

    def end(self, *, incomplete: str | None = None) -> None:
        """The response has ended: close what is open, and say why its text lacks its end."""
        self._end_reasoning()
        for call in self._calls.values():
            self._close_call(call)
        if incomplete and self._text_prefix is not None and not self._inside:
            message = self._now()
            message.incomplete = incomplete
            about = {"messageId": message.id, "role": "assistant", "metadata": message.metadata()}
            self._emit({"type": "TEXT_MESSAGE_CHUNK"} | about)
        self._end_text()

    def shown(self) -> list[dict[str, Any]]:
        """Messages so far, half-written ones included, as a client shows them."""
        return [message.shown() for message in self._messages]

    # ------------------------------------------------------------------ text
    def _write(self, text: str, *, refusal: bool) -> None:
        self._end_reasoning()
        message = self._message
        if message is None or message.calls or message.refusal is not refusal:
            self._end_text()
            self._begin_message(refusal=refusal)
        if self._text_prefix is None:
            self._begin_text()
        self._now().text.append(_valid(text))
        kind = "TEXT_MESSAGE_CONTENT" if self._inside else "TEXT_MESSAGE_CHUNK"
        self._delta(kind, self._text_prefix or "", text)

    def _begin_text(self) -> None:
        id_ = self._now().id
        metadata = self._now().metadata()
        about: dict[str, Any] = {"metadata": metadata} if metadata else {}
        if self._inside:
            started = {"type": "TEXT_MESSAGE_START", "messageId": id_, "role": "assistant"}
            self._emit(started | about | self._inside)
            shape = {"type": "TEXT_MESSAGE_CONTENT", "messageId": id_} | self._inside
        else:
            shape = {"type": "TEXT_MESSAGE_CHUNK", "messageId": id_, "role": "assistant"} | about
        self._text_prefix = delta_prefix(shape)

    def _end_text(self) -> None:
        if self._text_prefix is not None and self._inside:
            ended = {"type": "TEXT_MESSAGE_END", "messageId": self._now().id}
            self._emit(ended | self._inside)
        self._text_prefix = None

    def _begin_message(self, *, refusal: bool = False) -> None:
        self._message = _Message(new_id("msg"), "assistant", refusal)
        self._messages.append(self._message)

    def _now(self) -> _Message:
        """The assistant message being written; there is one wherever this is asked."""
        assert self._message is not None  # noqa: S101 - for the type checker
        return self._message

    # ------------------------------------------------------------------ reasoning
    def _think(self, text: str) -> None:
        if self._reasoning is None:
            self._reasoning = self._begin_reasoning()
        self._reasoning.text.append(_valid(text))
        self._delta("REASONING_MESSAGE_CONTENT", self._reasoning_prefix, text)

    def _begin_reasoning(self) -> _Message:
        """What follows it is a new message: one that was left must not be gone on with."""
        self._end_text()
        self._message = None
        reasoning = _Message(new_id("rsn"), "reasoning")
        self._messages.append(reasoning)
        id_ = reasoning.id
        start = {"type": "REASONING_MESSAGE_START", "messageId": id_, "role": "reasoning"}
        self._emit({"type": "REASONING_START", "messageId": id_} | self._inside)
        self._emit(start | self._inside)
        shape = {"type": "REASONING_MESSAGE_CONTENT", "messageId": id_} | self._inside
        self._reasoning_prefix = delta_prefix(shape)
        return reasoning

    def _end_reasoning(self) -> None:
        if self._reasoning is None:
            return
        id_ = self._reasoning.id
        self._emit({"type": "REASONING_MESSAGE_END", "messageId": id_} | self._inside)
        self._emit({"type": "REASONING_END", "messageId": id_} | self._inside)
        self._reasoning = None

    # ------------------------------------------------------------------ calls
    def _begin_call(self, index: int, given_id: str, name: str) -> None:
        self._end_reasoning()
        self._end_text()
        if self._message is None:
            self._begin_message()
        message = self._now()
        call_id = self._unique(given_id)
        shape = {"type": "TOOL_CALL_ARGS", "toolCallId": call_id} | self._inside
        call = _Call(call_id, name, delta_prefix(shape))
        self._calls[index] = call
        message.calls.append(call)
        start = {
            "type": "TOOL_CALL_START",
            "toolCallId": call_id,
            "toolCallName": name,
            "parentMessageId": message.id,
        }
        self._emit(start | self._inside)

    def _argue(self, index: int, text: str) -> None:
        call = self._calls.get(index)
        if call is None or call.ended or not text:
            return
        call.arguments.append(_valid(text))
        self._delta("TOOL_CALL_ARGS", call.prefix, text)

    def _end_call(self, index: int, item: Any) -> None:
        name, arguments = _said_of(item)
        if index not in self._calls:
            self._begin_call(index, item.call_id, name)
        call = self._calls[index]
        if not call.arguments and arguments:
            self._argue(index, arguments)
        self._close_call(call)

    def _close_call(self, call: _Call) -> None:
        if call.ended:
            return
        call.ended = True
        self._emit({"type": "TOOL_CALL_END", "toolCallId": call.id} | self._inside)


def _said_of(item: Any) -> tuple[str, str]:
    """Name and arguments of a call; people see all kinds alike."""
    match item.type:
        case "function_call":
            return item.name, item.arguments
        case "custom_tool_call":
            return item.name, _json({"input": item.input})
        case "apply_patch_call":
            return "apply_patch", _json(item.operation)
    return item.type.removesuffix("_call"), _json(item.action)


def _json(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_unset=True)
    return json.dumps(value, ensure_ascii=False)


def _valid(text: str) -> str:
    """The text, which half a surrogate pair would keep from being written anywhere.

    Raises:
        BatonError: `upstream_invalid`.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        message = "The model server sent text that is not valid Unicode."
        raise BatonError(Code.UPSTREAM_INVALID, message) from None
    return text
