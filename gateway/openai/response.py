"""The shapes of responses, plain and streamed: from answers to JSON.

A number of a stream's event derives from the position of the run's event that it tells of, so it
is the same at every gateway, whenever it is asked. Numbers rise, and may skip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.following import Happening
from gateway.openai.answer import Added, Question, Whole, is_text
from gateway.openai.asked import bad
from gateway.openai.completion import line, usage_of
from gateway.openai.errors import error_object, openai_status
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.position import Position, parse_position

PREFIX = "resp_"
#: So many events of a stream may tell of one of the run's, and so many of those a fence has.
PER_POSITION, PER_FENCE = 256, 1 << 24
#: Among those of one position: where questions begin, so many for each, and the last of all. They
#: are fixed, so that a text which is kept in one piece ends with the number that it ended with.
_QUESTIONS, _PER_QUESTION, _LAST = 20, 4, PER_POSITION - 1
#: More questions at once are told in the response alone.
_MOST_QUESTIONS = (_LAST - _QUESTIONS) // _PER_QUESTION
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
    whole: Whole | None = None,
    error: BatonError | None = None,
) -> dict[str, Any]:
    """A `response`; `whole` where there is an answer, which may lack its end."""
    why = whole.incomplete if whole else None
    return {
        "id": PREFIX + of.run,
        "object": "response",
        "created_at": of.created_at,
        "status": "incomplete" if why else status,
        "background": of.background,
        "error": {"code": "server_error", "message": error.message} if error else None,
        "incomplete_details": {"reason": why} if why else None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": of.model,
        "output": [] if whole is None else _output(of, whole),
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
    } | ({} if whole is None else {"usage": _usage(whole.usage)})  # never null, says OpenAI


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


def _status(whole: Whole) -> str:
    return "incomplete" if whole.incomplete else "completed"


def _parts_of(whole: Whole) -> list[dict[str, Any]]:
    """What was said, in its order; a mere question says nothing else."""
    parts = [_part("text", whole.text)] if whole.text else []
    if whole.refusal:
        parts.insert(0 if whole.refused_first else 1, _part("refusal", whole.refusal))
    return parts or ([] if whole.asked else [_part("text", "")])


def _part(kind: str, text: str) -> dict[str, Any]:
    if kind == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _output(of: Identity, whole: Whole) -> list[dict[str, Any]]:
    """All that was said, as one message, and what is asked."""
    parts = _parts_of(whole)
    said = [_item(of, _status(whole), parts)] if parts else []
    return [*said, *map(_asked, whole.asked)]


def _asked(question: Question, arguments: str | None = None) -> dict[str, Any]:
    """With OpenAI it is a server of tools that is to be approved; here the agent has them."""
    if question.of_client:
        return {
            "type": "function_call",
            "id": f"fc_{question.id}",
            "call_id": question.id,
            "name": question.tool,
            "arguments": question.arguments if arguments is None else arguments,
            "status": "completed" if arguments is None else "in_progress",
        }
    return {
        "type": "mcp_approval_request",
        "id": question.id,
        "server_label": question.agent,
        "name": question.tool,
        "arguments": question.arguments,
    }


class ResponseStream:
    """The lines of one stream; of a stream read again, those with numbers above `after`."""

    def __init__(self, of: Identity, *, events: bool = False, after: int = -1) -> None:
        self._of, self._events, self._after = of, events, after
        self._first_fence: int | None = None
        #: The number that belongs to the newest of the run's events.
        self._base = 0
        #: Kinds of the parts that have begun, in their order: `text`, `refusal`.
        self._parts: list[str] = []

    def opening(self) -> bytes:
        """The response, before anything was said."""
        begun = response(self._of, "in_progress")
        return self._numbered("response.created", 0, response=begun) + self._numbered(
            "response.in_progress", 1, response=begun
        )

    def happened(self, one: Happening, added: Added) -> bytes:
        """The event, for those who ask for what is not told by the text; and what it adds."""
        self._stand_at(one)
        told = b""
        if self._events and not is_text(one.event):
            baton = {"id": one.at, "event": one.event}
            told = self._event("response.in_progress", 2, response=self._now(), baton=baton)
        if added.text:
            told += self._begin("text")
            told += self._in_part("text", "delta", 5, delta=added.text, logprobs=[])
        if added.refusal:
            told += self._begin("refusal")
            told += self._in_part("refusal", "delta", 5, delta=added.refusal)
        return told

    def closing(self, whole: Whole) -> bytes:
        """The whole answer, once more, and the end."""
        if self._after >= self._base + PER_POSITION:
            raise bad("starting_after", "the stream ends before it.")
        parts = _parts_of(whole)
        told = self._begin("text") if parts and not self._parts else b""
        for kind, part in zip(self._parts, parts, strict=True):
            place = 6 + 2 * self._parts.index(kind)
            if kind == "text":
                told += self._in_part(kind, "done", place, text=whole.text, logprobs=[])
            else:
                told += self._in_part(kind, "done", place, refusal=whole.refusal)
            told += self._event(
                "response.content_part.done", place + 1, **self._at(kind), part=part
            )
        if parts:
            item = _item(self._of, _status(whole), parts)
            told += self._event("response.output_item.done", 10, output_index=0, item=item)
        told += self._questions(whole.asked, 1 if parts else 0)
        ended = response(self._of, "completed", whole=whole)
        return told + self._event(f"response.{_status(whole)}", _LAST, response=ended)

    def _questions(self, asked: Sequence[Question], index: int) -> bytes:
        told = b""
        for number, one in enumerate(asked[:_MOST_QUESTIONS]):
            where: dict[str, Any] = {"output_index": index + number}
            at = _QUESTIONS + _PER_QUESTION * number
            begun = _asked(one, "")
            told += self._event("response.output_item.added", at, **where, item=begun)
            if one.of_client:
                told += self._arguments(one, at + 1, where | {"item_id": begun["id"]})
            told += self._event("response.output_item.done", at + 3, **where, item=_asked(one))
        return told

    def _arguments(self, one: Question, at: int, where: dict[str, Any]) -> bytes:
        """Of a client's call, as if they came in pieces."""
        kind, whole = "response.function_call_arguments", {"arguments": one.arguments}
        told = self._event(f"{kind}.delta", at, **where, delta=one.arguments)
        return told + self._event(f"{kind}.done", at + 1, **where, **whole, name=one.tool)

    def failed(self, error: BatonError) -> bytes:
        """The end of a response that failed, or of a stream that cannot go on."""
        if error.code in _OF_THE_STREAM or error.code is Code.CANCELLED:
            told = error_object(error, openai_status(error.status))
            about = {name: told[name] for name in ("code", "message", "param")}
            return self._event("error", 12, **about)
        ended = response(self._of, "failed", error=error)
        return self._event("response.failed", 12, response=ended)

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

    def _begin(self, kind: str) -> bytes:
        """The beginning of a part, and before the first one that of the item."""
        if kind in self._parts:
            return b""
        told = b""
        if not self._parts:
            item = _item(self._of, "in_progress", [])
            told = self._event("response.output_item.added", 3, output_index=0, item=item)
        self._parts.append(kind)
        begun = _part(kind, "")
        return told + self._event("response.content_part.added", 4, **self._at(kind), part=begun)

    def _in_part(self, kind: str, what: str, place: int, **fields: Any) -> bytes:
        name = "output_text" if kind == "text" else kind
        return self._event(f"response.{name}.{what}", place, **self._at(kind), **fields)

    def _at(self, kind: str) -> dict[str, Any]:
        index = self._parts.index(kind)
        return {"item_id": _item_id(self._of), "output_index": 0, "content_index": index}

    def _now(self) -> dict[str, Any]:
        return response(self._of, "in_progress")

    def _event(self, kind: str, place: int, **fields: Any) -> bytes:
        return self._numbered(kind, self._base + place, **fields)

    def _numbered(self, kind: str, number: int, **fields: Any) -> bytes:
        if number <= self._after:
            return b""
        told = {"type": kind, "sequence_number": number, **fields}
        return f"event: {kind}\n".encode() + line(told)
