"""The lean client asks as the stock one does, gives JournaledModel what it reads, and builds the
rest as ever.
"""

import inspect
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from openai import AsyncOpenAI, omit
from openai._streaming import AsyncStream
from openai.resources.chat.completions import completions as completions_resource
from openai.resources.responses import responses as responses_resource
from openai.types.responses import Response, ResponseCompletedEvent, ResponseStreamEvent

from runner.models.client import LeanClient
from shared.telemetry.tracecontext import TRACE, TraceParent, trace_of_run

ANSWER = httpx2.Response(200)


def processed(client: AsyncOpenAI, data: object) -> Any:
    cast_to: Any = ResponseStreamEvent
    return client._process_response_data(data=data, cast_to=cast_to, response=ANSWER)


@pytest.fixture
def lean() -> LeanClient:
    return LeanClient(api_key="none")


def test_a_delta_has_the_values_that_it_came_with(lean: LeanClient) -> None:
    data = {"type": "response.function_call_arguments.delta", "output_index": 3, "delta": "{"}
    event = processed(lean, data)
    assert (event.type, event.output_index, event.delta) == (data["type"], 3, "{")


def test_what_nobody_reads_is_not_built(lean: LeanClient) -> None:
    event = processed(lean, {"type": "response.created", "response": {"id": "resp_1"}})
    assert vars(event) == {"type": "response.created"}


@pytest.mark.parametrize(
    "kind",
    ["response.output_item.added", "response.output_item.done", "response.completed"],
)
def test_what_is_read_is_the_same_as_from_the_stock_client(lean: LeanClient, kind: str) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "", "id": "fc"}
    data = {
        "type": kind,
        "sequence_number": 1,
        "output_index": 0,
        "item": call,
        "response": {"id": "resp_1", "output": [call], "object": "response"},
    }
    stock = processed(AsyncOpenAI(api_key="none"), data)
    event = processed(lean, data)
    assert type(event) is type(stock)
    assert event == stock
    if isinstance(event, ResponseCompletedEvent):
        assert isinstance(event.response, Response)


def test_the_stock_client_passes_every_event_through_the_method_that_we_replace() -> None:
    replaced = inspect.signature(AsyncOpenAI._process_response_data).parameters
    assert list(replaced) == ["self", "data", "cast_to", "response"]
    assert "_client._process_response_data" in inspect.getsource(AsyncStream.__stream__)


CONVERSATION: list[Any] = [
    {"role": "user", "content": "hello"},
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "look"},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
            {"type": "input_file", "file_id": "file_1"},
        ],
    },
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": 1}', "id": "fc"},
    {"type": "function_call_output", "call_id": "c", "output": "1\u00e9"},
    {"type": "a_kind_of_tomorrow", "camelCase": {"of": [1, 2.5, None, True]}},
]
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}
CHAT: list[Any] = [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test/i"}}]},
    {
        "role": "assistant",
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "c", "content": "1"},
]
RESPONSES_REQUESTS: dict[str, dict[str, Any]] = {
    "a conversation with tools": {
        "input": CONVERSATION,
        "tools": [{"type": "function", "strict": True, **FUNCTION}, {"type": "web_search"}],
        "instructions": "Answer.",
        "tool_choice": "auto",
        "temperature": 0.5,
    },
    "without tools": {"input": CONVERSATION, "tools": omit},
    "a text": {"input": "hello", "extra_body": None},
    "nothing": {"input": [], "tools": []},
    "a body of the caller's own": {"input": CONVERSATION, "extra_body": {"input": "mine", "n": 1}},
}
CHAT_REQUESTS: dict[str, dict[str, Any]] = {
    "a conversation with tools": {
        "messages": CHAT,
        "tools": [{"type": "function", "function": FUNCTION}],
        "parallel_tool_calls": True,
    },
    "without tools": {"messages": CHAT, "tools": omit},
    "a body of the caller's own": {"messages": CHAT, "extra_body": {"chat_template_kwargs": {}}},
}


async def sent(kind: type[AsyncOpenAI], path: str, asked: dict[str, Any]) -> bytes:
    """The body that a client of this kind sends."""
    bodies: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(request.content)
        return httpx2.Response(200, json={})

    transport = httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(transport=transport) as http:
        client = kind(api_key="none", base_url="http://model.test/v1", http_client=http)
        of: Any = client.responses if path == "responses" else client.chat.completions
        await of.create(model="m", **asked)
        async with of.with_streaming_response.create(model="m", **asked):
            pass
    one, streamed = bodies
    assert one == streamed
    return one


@pytest.mark.parametrize("what", RESPONSES_REQUESTS)
@pytest.mark.asyncio
async def test_a_request_for_a_response_is_sent_as_by_the_stock_client(what: str) -> None:
    asked = RESPONSES_REQUESTS[what]
    stock = await sent(AsyncOpenAI, "responses", asked)
    assert await sent(LeanClient, "responses", asked) == stock


@pytest.mark.parametrize("what", CHAT_REQUESTS)
@pytest.mark.asyncio
async def test_a_request_for_a_completion_is_sent_as_by_the_stock_client(what: str) -> None:
    asked = CHAT_REQUESTS[what]
    stock = await sent(AsyncOpenAI, "chat", asked)
    assert await sent(LeanClient, "chat", asked) == stock


@pytest.mark.asyncio
async def test_the_conversation_is_not_walked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[Any] = []

    async def transform(data: Any, _: Any) -> Any:
        walked.append(data)
        return data

    for module in (responses_resource, completions_resource):
        monkeypatch.setattr(module, "async_maybe_transform", transform)
    asked = RESPONSES_REQUESTS["a conversation with tools"]
    await sent(LeanClient, "responses", asked)
    await sent(LeanClient, "chat", CHAT_REQUESTS["a conversation with tools"])
    large = [name for one in walked for name in ("input", "messages", "tools") if one.get(name)]
    assert walked
    assert not large


TRACE_OF_CLIENT = TraceParent("a" * 32, "b" * 16)


@pytest.mark.parametrize(
    ("trace", "tells", "told"),
    [
        (TRACE_OF_CLIENT, True, TRACE_OF_CLIENT.header),
        (TRACE_OF_CLIENT, False, None),  # as models.yaml says of its server
        (trace_of_run(UUID(int=1), None), True, None),  # which nobody records
        (None, True, None),
    ],
)
@pytest.mark.asyncio
async def test_the_server_is_told_the_trace_that_somebody_records(
    trace: TraceParent | None, tells: bool, told: str | None
) -> None:
    headers: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        headers.append(request.headers.get("traceparent"))
        return httpx2.Response(200, json={})

    transport = httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(transport=transport) as http:
        client = LeanClient(api_key="none", base_url="http://model.test/v1", http_client=http)
        client.tells_trace = tells
        within = TRACE.set(trace)
        try:
            await client.responses.create(model="m", input="hello")
        finally:
            TRACE.reset(within)
    assert headers == [told]


@pytest.mark.parametrize("folder", ["responses", "chat", "shared_params"])
def test_no_field_of_a_conversation_has_another_name_on_the_wire(folder: str) -> None:
    """What the stock client walks through a conversation for, and we leave out."""
    renamed = [
        path.name
        for path in (Path(inspect.getfile(AsyncOpenAI)).parent / "types" / folder).rglob("*.py")
        if re.search(r"PropertyInfo\((alias|format)", path.read_text())
    ]
    assert not renamed
