"""The lean client gives JournaledModel what it reads, and builds the rest as ever."""

import inspect
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI
from openai._streaming import AsyncStream
from openai.types.responses import Response, ResponseCompletedEvent, ResponseStreamEvent

from runner.models.client import LeanClient

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
