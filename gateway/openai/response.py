"""The shapes of responses, plain and streamed: from text and tokens to JSON.

A number of a stream's event derives from the position of the run's event that it tells of, so it
is the same at every gateway, whenever it is asked. Numbers rise, and may skip.
"""

from dataclasses import dataclass
from typing import Any

from gateway.following import Happening
from gateway.openai.answer import is_text
from gateway.openai.asked import bad
from gateway.openai.completion import line, usage_of
from gateway.openai.errors import error_object, openai_status
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.position import Position, parse_position

PREFIX = "resp_"
#: So many events of a stream may tell of one of the run's, and so many of those a fence has.
PER_POSITION, PER_FENCE = 16, 1 << 24
#: Failures of the telling, not of the run: the stream ends, and the response goes on.
_OF_THE_STREAM = frozenset(
    {Code.UNAVAILABLE, Code.ANSWER_RESTARTED, Code.INTERNAL, Code.BAD_INPUT, Code.RATE_LIMITED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What all forms of one response have in common; `created_at` in seconds since the epoch."""

    run: str
    created_at: int
    model: str
    background: bool = False


def response(
    of: Identity,
    status: str,
    *,
    text: str | None = None,
    usage: list[dict[str, Any]] | None = None,
    error: BatonError | None = None,
) -> dict[str, Any]:
    """A `response`; `text` where there is an answer."""
    return {
        "id": PREFIX + of.run,
        "object": "response",
        "created_at": of.created_at,
        "status": status,
        "background": of.background,
        "error": {"code": "server_error", "message": error.message} if error else None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": of.model,
        "output": [] if text is None else [_item(of, "completed", [_part(text)])],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": None if usage is None else _usage(usage),
        "user": None,
    }


def _usage(usage: list[dict[str, Any]]) -> dict[str, Any]:
    total = usage_of(usage)
    cached = total["prompt_tokens_details"]["cached_tokens"]
    return {
        "input_tokens": total["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": total["completion_tokens"],
        "output_tokens_details": {
            "reasoning_tokens": total["completion_tokens_details"]["reasoning_tokens"]
        },
        "total_tokens": total["total_tokens"],
    }


def _item_id(of: Identity) -> str:
    return f"msg_{of.run}"


def _item(of: Identity, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": _item_id(of),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


class ResponseStream:
    """The lines of one stream; of a stream read again, those with numbers above `after`."""

    def __init__(self, of: Identity, *, events: bool = False, after: int = -1) -> None:
        self._of, self._events, self._after = of, events, after
        self._first_fence: int | None = None
        #: The number that belongs to the newest of the run's events.
        self._base = 0
        self._said_something = False

    def opening(self) -> bytes:
        """The response, before anything was said."""
        begun = response(self._of, "in_progress")
        return self._numbered("response.created", 0, response=begun) + self._numbered(
            "response.in_progress", 1, response=begun
        )

    def happened(self, one: Happening, text: str) -> bytes:
        """The event, for those who ask for what is not told by the text; and the text."""
        self._stand_at(one)
        told = b""
        if self._events and not is_text(one.event):
            baton = {"id": one.at, "event": one.event}
            told = self._event("response.in_progress", 2, response=self._now(), baton=baton)
        return told + (self._text(text) if text else b"")

    def closing(self, text: str, usage: list[dict[str, Any]]) -> bytes:
        """The whole text, once more, and the end."""
        if self._after >= self._base + PER_POSITION:
            raise bad("starting_after", "the stream ends before it.")
        told = b"" if self._said_something else self._begin()
        at, part = self._at(), _part(text)
        item = _item(self._of, "completed", [part])
        ended = response(self._of, "completed", text=text, usage=usage)
        return b"".join(
            (
                told,
                self._event("response.output_text.done", 6, **at, text=text, logprobs=[]),
                self._event("response.content_part.done", 7, **at, part=part),
                self._event("response.output_item.done", 8, output_index=0, item=item),
                self._event("response.completed", 9, response=ended),
            )
        )

    def failed(self, error: BatonError) -> bytes:
        """The end of a response that failed, or of a stream that cannot go on."""
        if error.code in _OF_THE_STREAM or error.code is Code.CANCELLED:
            told = error_object(error, openai_status(error.status))
            about = {name: told[name] for name in ("code", "message", "param")}
            return self._event("error", 10, **about)
        ended = response(self._of, "failed", error=error)
        return self._event("response.failed", 10, response=ended)

    def _stand_at(self, one: Happening) -> None:
        before, at = self._base, parse_position(one.at) if one.at else None
        self._base = self._number(at) if at else before + PER_POSITION
        asked = self._after - self._after % PER_POSITION
        if before < asked < self._base:
            why = "it lies inside a text that is kept in one piece, or is no number of this stream."
            raise bad("starting_after", why)

    def _number(self, at: Position) -> int:
        if self._first_fence is None:
            self._first_fence = at.fence
        return ((at.fence - self._first_fence) * PER_FENCE + at.seq) * PER_POSITION

    def _text(self, text: str) -> bytes:
        begin = b"" if self._said_something else self._begin()
        at = self._at()
        return begin + self._event("response.output_text.delta", 5, **at, delta=text, logprobs=[])

    def _begin(self) -> bytes:
        self._said_something = True
        item = _item(self._of, "in_progress", [])
        return self._event(
            "response.output_item.added", 3, output_index=0, item=item
        ) + self._event("response.content_part.added", 4, **self._at(), part=_part(""))

    def _at(self) -> dict[str, Any]:
        return {"item_id": _item_id(self._of), "output_index": 0, "content_index": 0}

    def _now(self) -> dict[str, Any]:
        return response(self._of, "in_progress")

    def _event(self, kind: str, place: int, **fields: Any) -> bytes:
        return self._numbered(kind, self._base + place, **fields)

    def _numbered(self, kind: str, number: int, **fields: Any) -> bytes:
        if number <= self._after:
            return b""
        told = {"type": kind, "sequence_number": number, **fields}
        return f"event: {kind}\n".encode() + line(told)
