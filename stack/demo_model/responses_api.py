"""Renders a reply as OpenAI's Responses API does, plain and as a stream of typed events.

Order and fields of the events follow platform.openai.com/docs/api-reference/responses-streaming.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from stack.demo_model import pieces
from stack.demo_model.model_request import ModelRequest
from stack.demo_model.rendering import Rendered, new_call_id, new_id
from stack.demo_model.reply import Finish, Reply, ToolCall

_FAILURE = {"code": "server_error", "message": "The demo model failed, as it was asked to."}

#: Fields of a request that OpenAI repeats in the response, with their defaults.
_REPEATED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One output item: as it is added, the deltas that fill it, and as it is done."""

    added: dict[str, Any]
    deltas: tuple[bytes, ...]
    done: dict[str, Any]


def render(request: ModelRequest, reply: Reply) -> Rendered:
    """The whole answer; only what the request asks for (plain or stream) is filled in."""
    response = _envelope(request)
    parts = list(_parts(reply))
    ended = response | _ending(request, reply, parts)
    if not request.stream:
        ticks = [b""] * sum(len(part.deltas) for part in parts)
        empty = ended | {"output": []}
        return Rendered(ticks=ticks, plain=orjson.dumps(ended), plain_empty=orjson.dumps(empty))
    stream = _Stream()
    stream.event("response.created", response=response)
    stream.event("response.in_progress", response=response)
    rendered = Rendered(head=stream.taken())
    for index, part in enumerate(parts):
        _stream_part(stream, index, part)
    stream.event(f"response.{reply.finish}", response=ended)
    rendered.ticks = stream.ticks
    rendered.tail = stream.taken()
    return rendered


def _envelope(request: ModelRequest) -> dict[str, Any]:
    """The response before anything was said."""
    repeated = {name: request.body.get(name, default) for name, default in _REPEATED.items()}
    return {
        "id": new_id("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": request.model,
        "output": [],
        "service_tier": "default",
        "usage": None,
        # Serialised once for all events that carry it.
        **{name: orjson.Fragment(orjson.dumps(value)) for name, value in repeated.items()},
    }


def _ending(request: ModelRequest, reply: Reply, parts: list[_Part]) -> dict[str, Any]:
    is_cut = reply.finish is Finish.INCOMPLETE
    return {
        "status": reply.finish,
        "error": _FAILURE if reply.finish is Finish.FAILED else None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "output": [part.done for part in parts],
        "usage": _usage(request, parts),
    }


def _usage(request: ModelRequest, parts: list[_Part]) -> dict[str, Any]:
    """Every delta counts as a token."""
    reasoning = sum(len(part.deltas) for part in parts if part.done["type"] == "reasoning")
    output = sum(len(part.deltas) for part in parts)
    return {
        "input_tokens": request.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": request.input_tokens + output,
    }


def _parts(reply: Reply) -> Iterator[_Part]:
    if reply.reasoning:
        yield _reasoning(reply.reasoning)
    if reply.text:
        yield _message(reply)
    for call in reply.calls:
        yield _function_call(call, new_call_id(repeat=reply.repeat_call_ids))


def _reasoning(text: str) -> _Part:
    item = {"id": new_id("rs_"), "type": "reasoning", "summary": []}
    done = item | {"summary": [{"type": "summary_text", "text": text}]}
    return _Part(added=item, deltas=pieces.of_text(text, None), done=done)


def _message(reply: Reply) -> _Part:
    if reply.is_refusal:
        content: dict[str, Any] = {"type": "refusal", "refusal": reply.text}
    else:
        content = {
            "type": "output_text",
            "annotations": [],
            "logprobs": [],
            "text": reply.text,
        }
    item = {"id": new_id("msg_"), "type": "message", "role": "assistant"}
    status = "completed" if reply.finish is Finish.COMPLETED else "incomplete"
    return _Part(
        added=item | {"status": "in_progress", "content": []},
        deltas=pieces.of_text(reply.text, reply.text_deltas),
        done=item | {"status": status, "content": [content]},
    )


def _function_call(call: ToolCall, call_id: str) -> _Part:
    item = {"id": new_id("fc_"), "type": "function_call", "call_id": call_id, "name": call.name}
    return _Part(
        added=item | {"status": "in_progress", "arguments": ""},
        deltas=pieces.of_arguments(call.arguments),
        done=item | {"status": "completed", "arguments": call.arguments},
    )


class _Stream:
    """Numbers events and cuts their bytes after each delta."""

    def __init__(self) -> None:
        self.ticks: list[bytes] = []
        self._waiting: list[bytes] = []
        self._sequence = 0

    def event(self, kind: str, **fields: object) -> None:
        """An event that goes out together with the next delta."""
        data = orjson.dumps({"type": kind, **fields, "sequence_number": self._sequence})
        self._waiting.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))
        self._sequence += 1

    def deltas(self, kind: str, encoded: tuple[bytes, ...], **fields: object) -> None:
        """One event and one tick for each piece; only piece and number differ."""
        fixed = orjson.dumps({"type": kind, **fields})[:-1]
        opening = b'event: %b\ndata: %b,"delta":' % (kind.encode(), fixed)
        for piece in encoded:
            event = b'%b%b,"sequence_number":%d}\n\n' % (opening, piece, self._sequence)
            self._sequence += 1
            self.ticks.append(self.taken() + event if self._waiting else event)

    def taken(self) -> bytes:
        """The bytes since the last delta."""
        taken = b"".join(self._waiting)
        self._waiting.clear()
        return taken


def _stream_part(stream: _Stream, index: int, part: _Part) -> None:
    stream.event("response.output_item.added", output_index=index, item=part.added)
    at = {"item_id": part.done["id"], "output_index": index}
    match part.done["type"]:
        case "reasoning":
            _stream_reasoning(stream, at, part)
        case "message":
            _stream_message(stream, at, part)
        case "function_call":
            _stream_arguments(stream, at, part)
    stream.event("response.output_item.done", output_index=index, item=part.done)


def _stream_reasoning(stream: _Stream, at: dict[str, Any], part: _Part) -> None:
    at = at | {"summary_index": 0}
    full = part.done["summary"][0]
    kind = "response.reasoning_summary_text"
    stream.event("response.reasoning_summary_part.added", **at, part=full | {"text": ""})
    stream.deltas(f"{kind}.delta", part.deltas, **at)
    stream.event(f"{kind}.done", **at, text=full["text"])
    stream.event("response.reasoning_summary_part.done", **at, part=full)


def _stream_message(stream: _Stream, at: dict[str, Any], part: _Part) -> None:
    at = at | {"content_index": 0}
    full = part.done["content"][0]
    extra: dict[str, Any] = {}
    if full["type"] == "refusal":
        kind, field = "response.refusal", "refusal"
    else:
        kind, field, extra = "response.output_text", "text", {"logprobs": []}
    stream.event("response.content_part.added", **at, part=full | {field: ""})
    stream.deltas(f"{kind}.delta", part.deltas, **at, **extra)
    stream.event(f"{kind}.done", **at, **extra, **{field: full[field]})
    stream.event("response.content_part.done", **at, part=full)


def _stream_arguments(stream: _Stream, at: dict[str, Any], part: _Part) -> None:
    kind = "response.function_call_arguments"
    stream.deltas(f"{kind}.delta", part.deltas, **at)
    stream.event(f"{kind}.done", **at, name=part.done["name"], arguments=part.done["arguments"])
