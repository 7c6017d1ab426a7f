"""What the door says, held against OpenAI's published document."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.gateway.openai.carried import FINISHED, CarriedRun, says
from tests.gateway.openai.published import event_schema, misfit
from tests.gateway.rig import Rig

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
CALL = {"toolCallId": "call_1"}
TURN: list[dict[str, Any]] = [
    {"type": "STEP_STARTED", "stepName": "Assistant"},
    {"type": "TOOL_CALL_START", **CALL, "toolCallName": "roll", "parentMessageId": "m0"},
    {"type": "TOOL_CALL_ARGS", **CALL, "delta": "{}"},
    {"type": "TOOL_CALL_END", **CALL},
    {"type": "TOOL_CALL_RESULT", **CALL, "messageId": "m1", "content": "6", "role": "tool"},
    says("Six", "m2"),
    says(", I say.", "m2"),
]
USAGE = {"usage": [{"model": "m", "inputTokens": 3, "outputTokens": 5}]}
QUESTION = {
    "id": "int_1",
    "metadata": {"baton": {"agent": "Assistant", "tool": "roll", "arguments": "{}"}},
}
ENDS: dict[str, dict[str, Any]] = {
    "finished": FINISHED | USAGE,
    "interrupted": FINISHED | {"outcome": {"type": "interrupt", "interrupts": [QUESTION]}},
    "failed": {"type": "RUN_ERROR", "message": "It broke.", "code": "agent_error"},
    "cancelled": FINISHED | {"outcome": {"type": "cancelled"}},
}
FAILURES = {"failed", "cancelled"}


async def answered(
    rig: Rig, client: httpx.AsyncClient, end: str, path: str, **body: Any
) -> httpx.Response:
    """What is answered to a request whose run says what `TURN` says, and ends like this."""
    await rig.announce("Assistant")
    asking = client.post(path, json={"model": "Assistant", **body})
    answering = asyncio.create_task(asking)
    try:
        run = await CarriedRun.claimed(rig)
        await run.say(*TURN, ENDS[end])
        await run.store()
        await run.end(end, {"id": "m2", "role": "assistant", "content": "Six, I say."})
        return await answering
    finally:
        answering.cancel()


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    data = (line[6:] for line in answer.text.splitlines() if line.startswith("data: "))
    return [json.loads(one) for one in data if one != "[DONE]"]


def assert_fits(schema: str, value: Any) -> None:
    assert (schema, misfit(schema, value)) == (schema, None)


def assert_stream_fits(answer: httpx.Response) -> None:
    """Each event has the schema of its type."""
    events = events_of(answer)
    assert events
    for event in events:
        assert_fits(event_schema(event["type"]), event)


async def test_what_does_not_fit_is_noticed() -> None:
    for value in ({}, {"object": "list", "data": [{"id": 1}]}, None):
        assert misfit("ListModelsResponse", value) is not None


async def test_completions(rig: Rig, ada: httpx.AsyncClient) -> None:
    said = [{"role": "user", "content": "Roll."}]
    for end in ENDS:
        answer = await answered(rig, ada, end, CHAT, messages=said)
        fails = end in FAILURES
        assert (answer.status_code != 200) == fails
        assert_fits("ErrorResponse" if fails else "CreateChatCompletionResponse", answer.json())


async def test_chunks_of_completions(rig: Rig, ada: httpx.AsyncClient) -> None:
    said = [{"role": "user", "content": "Roll."}]
    options = {"stream": True, "stream_options": {"include_usage": True}}
    for end in ENDS:
        answer = await answered(rig, ada, end, CHAT, messages=said, **options)
        *chunks, last = events_of(answer)
        assert chunks
        for chunk in chunks:
            assert_fits("CreateChatCompletionStreamResponse", chunk)
        fails = end in FAILURES
        assert_fits("ErrorResponse" if fails else "CreateChatCompletionStreamResponse", last)


async def test_responses_and_what_is_read_of_them(rig: Rig, ada: httpx.AsyncClient) -> None:
    for end in ENDS:
        answer = await answered(rig, ada, end, RESPONSES, input="Roll.")
        if end in FAILURES:
            assert_fits("ErrorResponse", answer.json())
            continue
        assert_fits("Response", answer.json())
        here = f"{RESPONSES}/{answer.json()['id']}"
        assert_fits("Response", (await ada.get(here)).json())
        assert_fits("ResponseItemList", (await ada.get(f"{here}/input_items")).json())
        assert_stream_fits(await ada.get(here, params={"stream": "true"}))


async def test_events_of_responses(rig: Rig, ada: httpx.AsyncClient) -> None:
    for end in ENDS:
        assert_stream_fits(await answered(rig, ada, end, RESPONSES, input="Roll.", stream=True))


async def test_models_and_errors(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    assert_fits("ListModelsResponse", (await ada.get("/v1/models")).json())
    assert_fits("Model", (await ada.get("/v1/models/Assistant")).json())
    for path, body in ((CHAT, {}), (RESPONSES, {"model": "Nobody", "input": "?"})):
        assert_fits("ErrorResponse", (await ada.post(path, json=body)).json())
