"""Warming up: what a process's first model call would build is built before there is one.

The SDK and openai's client make their types when these are first used, which would hold up the
first run of each runner. So the way of a call is gone once for each API, with a server that is not
there.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import orjson
from agents import Model, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel
from agents.models.interface import ModelTracing

from runner.models.client import LeanClient
from runner.models.response import dumped, rebuilt

_PART = {"type": "output_text", "text": "Hello.", "annotations": []}
_TEXT = {"type": "message", "id": "m", "role": "assistant", "content": [_PART]}
_CALL = {"type": "function_call", "id": "f", "call_id": "c", "name": "f", "arguments": "{}"}
_USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
_STREAMS = {
    "responses": (
        {"type": "response.output_item.added", "output_index": 0, "item": _TEXT},
        {"type": "response.output_item.done", "output_index": 0, "item": _TEXT},
        {"type": "response.output_item.done", "output_index": 1, "item": _CALL},
        {
            "type": "response.completed",
            "response": {"id": "r", "output": [_TEXT, _CALL], "usage": _USAGE},
        },
    ),
    "completions": (
        {"id": "c", "choices": [{"index": 0, "delta": {"content": "Hello."}}]},
        {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ),
}
_MODELS: dict[str, Callable[..., Model]] = {
    "responses": OpenAIResponsesModel,
    "completions": OpenAIChatCompletionsModel,
}


async def warm_up() -> None:
    """Make a call of each API, which goes nowhere."""
    for api, model in _MODELS.items():
        transport = httpx2.MockTransport(_answer)
        async with LeanClient(
            api_key="none",
            base_url="http://nowhere.invalid/v1",
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=transport),
        ) as client:
            async for event in _asked(model(model=api, openai_client=client)):
                if event.type == "response.completed":
                    rebuilt(dumped(event.response))


def _asked(model: Model) -> AsyncIterator[Any]:
    return model.stream_response(
        *("Answer.", "hello", ModelSettings(), [], None, [], ModelTracing.DISABLED),
        previous_response_id=None,
        conversation_id=None,
        prompt=None,
    )


def _answer(request: httpx2.Request) -> httpx2.Response:
    events = _STREAMS[request.url.path.rpartition("/")[2]]
    body = b"".join(b"data: %b\n\n" % orjson.dumps(event) for event in events)
    return httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})
