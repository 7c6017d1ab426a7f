"""Renders a reply as OpenAI's Chat Completions API does, plain and as a stream of chunks.

Reasoning goes out as `reasoning_content`, the field that DeepSeek began and local servers share.
"""

import time
from typing import Any

import orjson

from stack.demo_model import pieces
from stack.demo_model.model_request import ModelRequest
from stack.demo_model.rendering import Rendered, new_call_id, new_id
from stack.demo_model.reply import Finish, Reply

_DONE = b"data: [DONE]\n\n"

#: What a stream says instead of a finish reason when the provider gives up.
_FAILURE = {
    "error": {
        "message": "The demo model failed, as it was asked to.",
        "type": "server_error",
        "param": None,
        "code": None,
    }
}


def render(request: ModelRequest, reply: Reply) -> Rendered:
    """The whole answer; only what the request asks for (plain or stream) is filled in."""
    calls = [_call(call.name, call.arguments, reply) for call in reply.calls]
    if not request.stream:
        return _plain(request, reply, calls)
    return _streamed(request, reply, calls)


def _call(name: str, arguments: str, reply: Reply) -> dict[str, Any]:
    return {
        "id": new_call_id(repeat=reply.repeat_call_ids),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _plain(request: ModelRequest, reply: Reply, calls: list[dict[str, Any]]) -> Rendered:
    count = _counted(reply)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if reply.is_refusal else reply.text or None,
        "refusal": reply.text if reply.is_refusal else None,
        "annotations": [],
    }
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    if calls:
        message["tool_calls"] = calls
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": _finish_reason(reply),
    }
    body = _envelope(request, "chat.completion") | {"usage": _usage(request, reply, count)}
    return Rendered(
        ticks=[b""] * count,
        plain=orjson.dumps(body | {"choices": [choice]}),
        plain_empty=orjson.dumps(body | {"choices": []}),
    )


def _streamed(request: ModelRequest, reply: Reply, calls: list[dict[str, Any]]) -> Rendered:
    chunks = _Chunks(request)
    field = "refusal" if reply.is_refusal else "content"
    head = chunks.delta({"role": "assistant", "content": "", "refusal": None})
    ticks = chunks.deltas("reasoning_content", pieces.of_text(reply.reasoning, None))
    ticks += chunks.deltas(field, pieces.of_text(reply.text, reply.text_deltas))
    for index, call in enumerate(calls):
        ticks += chunks.call(index, call)
    if reply.finish is Finish.FAILED:
        tail = b"data: %b\n\n" % orjson.dumps(_FAILURE)
    else:
        tail = chunks.delta({}, finish_reason=_finish_reason(reply))
        tail += chunks.usage(_usage(request, reply, len(ticks))) + _DONE
    return Rendered(head=head, ticks=ticks, tail=tail, empty_tail=_DONE)


class _Chunks:
    """Writes the chunks of one stream; what they share is encoded once."""

    def __init__(self, request: ModelRequest) -> None:
        self._include_usage = request.include_usage
        self._envelope = _envelope(request, "chat.completion.chunk")
        shared = orjson.dumps(self._envelope)[:-1]
        self._opening = b'data: %b,"choices":[{"index":0,"delta":' % shared
        usage = b',"usage":null' if request.include_usage else b""
        self._closing = b',"logprobs":null,"finish_reason":%%b}]%b}\n\n' % usage

    def delta(self, delta: dict[str, Any], *, finish_reason: str | None = None) -> bytes:
        closing = self._closing % orjson.dumps(finish_reason)
        return b"%b%b%b" % (self._opening, orjson.dumps(delta), closing)

    def deltas(self, field: str, encoded: tuple[bytes, ...]) -> list[bytes]:
        """One chunk for each piece of a text field."""
        opening = b'%b{"%b":' % (self._opening, field.encode())
        closing = b"}" + self._closing % b"null"
        return [b"%b%b%b" % (opening, piece, closing) for piece in encoded]

    def call(self, index: int, call: dict[str, Any]) -> list[bytes]:
        """The call's name first, then its arguments in pieces."""
        function = call["function"] | {"arguments": ""}
        first = self.delta({"tool_calls": [{"index": index, **call, "function": function}]})
        opening = b'%b{"tool_calls":[{"index":%d,"function":{"arguments":' % (
            self._opening,
            index,
        )
        closing = b"}}]}" + self._closing % b"null"
        encoded = pieces.of_arguments(call["function"]["arguments"])
        chunks = [b"%b%b%b" % (opening, piece, closing) for piece in encoded]
        return [first + chunks[0], *chunks[1:]]

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The last chunk, without choices, for those who asked for usage."""
        if not self._include_usage:
            return b""
        return b"data: %b\n\n" % orjson.dumps(self._envelope | {"choices": [], "usage": usage})


def _envelope(request: ModelRequest, kind: str) -> dict[str, Any]:
    return {
        "id": new_id("chatcmpl-"),
        "object": kind,
        "created": int(time.time()),
        "model": request.model,
        "service_tier": "default",
        "system_fingerprint": "fp_baton_demo",
    }


def _finish_reason(reply: Reply) -> str:
    if reply.finish is not Finish.COMPLETED:
        return "length"
    return "tool_calls" if reply.calls else "stop"


def _counted(reply: Reply) -> int:
    """How many deltas the answer has; each counts as a token."""
    arguments = sum(len(pieces.of_arguments(call.arguments)) for call in reply.calls)
    text = len(pieces.of_text(reply.text, reply.text_deltas))
    return len(pieces.of_text(reply.reasoning, None)) + text + arguments


def _usage(request: ModelRequest, reply: Reply, output: int) -> dict[str, Any]:
    reasoning = len(pieces.of_text(reply.reasoning, None))
    return {
        "prompt_tokens": request.input_tokens,
        "completion_tokens": output,
        "total_tokens": request.input_tokens + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
