"""The shapes of chat completions, plain and streamed: from text and tokens to JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.following import Happening
from gateway.openai.answer import Added, Whole, is_text
from gateway.openai.errors import error_object, openai_status
from shared.errors import BatonError

DONE = b"data: [DONE]\n\n"
#: Finish reasons of answers that lack their end.
_CUT = {"max_output_tokens": "length", "content_filter": "content_filter"}
#: JSON may hold these as they are, but some clients take them for ends of lines.
LINE_ENDS = str.maketrans({"\u0085": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What all parts of one answer have in common; `created` in seconds since the epoch."""

    id: str
    created: int
    model: str


def completion(of: Identity, whole: Whole) -> dict[str, Any]:
    """A `chat.completion`."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": whole.text or (None if whole.refusal else ""),
        "refusal": whole.refusal or None,
        "annotations": [],
    }
    if calls := _calls(whole):
        message |= {"content": whole.text or None, "tool_calls": calls}
    end = _end(whole)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": end}
    return {
        "id": of.id,
        "object": "chat.completion",
        "created": of.created,
        "model": of.model,
        "choices": [choice],
        "usage": usage_of(whole.usage),
    }


def _calls(whole: Whole) -> list[dict[str, Any]]:
    """Calls of the client's own tools; by its id each is answered, whatever the model called it."""
    return [
        {
            "id": one.id,
            "type": "function",
            "function": {"name": one.tool, "arguments": one.arguments},
        }
        for one in whole.asked
        if one.of_client
    ]


def _end(whole: Whole) -> str:
    if any(one.of_client for one in whole.asked):
        return "tool_calls"
    return _CUT.get(whole.incomplete or "", "stop")


def usage_of(usage: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The tokens of all models that a run used, as one sum."""
    total = dict.fromkeys(
        ("inputTokens", "outputTokens", "totalTokens", "cachedInputTokens", "reasoningTokens"), 0
    )
    for one in usage:
        for name in total:
            total[name] += one.get(name) or 0
    return {
        "prompt_tokens": total["inputTokens"],
        "completion_tokens": total["outputTokens"],
        "total_tokens": total["totalTokens"],
        "prompt_tokens_details": {"cached_tokens": total["cachedInputTokens"], "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": total["reasoningTokens"],
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class Chunks:
    """The lines of one stream.

    With `include_usage` each chunk has a `usage`, and the last one tells it; with `events` all that
    happens is told, in a field of our own.
    """

    def __init__(self, of: Identity, *, include_usage: bool, events: bool = False) -> None:
        self._base: dict[str, Any] = {
            "id": of.id,
            "object": "chat.completion.chunk",
            "created": of.created,
            "model": of.model,
        }
        self._include_usage, self._events = include_usage, events

    def opening(self) -> bytes:
        """The first chunk: who speaks."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def happened(self, one: Happening, added: Added) -> bytes:
        """The event, for those who ask for what is not told by the text; and the text."""
        told = b""
        if self._events and not is_text(one.event):
            told = self._chunk({}, baton={"id": one.at, "event": one.event})
        if added.text:
            told += self._chunk({"content": added.text})
        return told + (self._chunk({"refusal": added.refusal}) if added.refusal else b"")

    def closing(self, whole: Whole) -> bytes:
        """The end of the text, tokens for those who ask, and the end of the stream."""
        calls = [{"index": index} | one for index, one in enumerate(_calls(whole))]
        end = self._chunk({"tool_calls": calls}) if calls else b""
        end += self._chunk({}, finish_reason=_end(whole))
        if self._include_usage:
            end += line(self._base | {"choices": [], "usage": usage_of(whole.usage)})
        return end + DONE

    def failed(self, error: BatonError) -> bytes:
        """The error; nothing comes after it."""
        return line({"error": error_object(error, openai_status(error.status))})

    def _chunk(
        self, delta: dict[str, Any], *, finish_reason: str | None = None, **more: Any
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._include_usage else {}
        return line(self._base | {"choices": [choice]} | usage | more)


def line(value: dict[str, Any]) -> bytes:
    """An event of the stream; JSON has no line end within, whatever a model writes."""
    raw = orjson.dumps(value)
    if not raw.isascii():
        raw = raw.decode().translate(LINE_ENDS).encode()
    return b"data: " + raw + b"\n\n"
