"""The demo model over HTTP, as OpenAI's own client and plain HTTP clients see it."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from agents.tracing.processors import BackendSpanExporter
from agents.tracing.traces import TraceImpl

_KEY = {"authorization": "Bearer sk-secret-of-somebody"}
_TOOL = {"type": "function", "name": "update_profile", "parameters": {"type": "object"}}
_ADA = "Please set my display name to Ada in my profile"


@pytest.fixture
def client(demo_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{demo_url}/v1", api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
def http(demo_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=demo_url, headers=_KEY) as http:
        yield http


def _events(client: openai.OpenAI, text: str, **more: Any) -> list[Any]:
    return list(client.responses.create(model="demo", input=text, stream=True, **more))


def _chunks(client: openai.OpenAI, text: str, **more: Any) -> list[Any]:
    messages: Any = [{"role": "user", "content": text}]
    return list(
        client.chat.completions.create(model="demo", messages=messages, stream=True, **more)
    )


def test_a_streamed_response_has_openais_events_in_openais_order(client: openai.OpenAI) -> None:
    events = _events(client, "think about tea [[deltas=2]]")
    kinds = [event.type for event in events]
    reasoning = [kind for kind in kinds if "reasoning" in kind]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert kinds[:3] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
    ]
    assert reasoning[0] == "response.reasoning_summary_part.added"
    assert set(reasoning[1:-2]) == {"response.reasoning_summary_text.delta"}
    assert reasoning[-2:] == [
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
    ]
    assert kinds[kinds.index(reasoning[-1]) + 1 :] == [
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    final = events[-1].response
    assert final.output_text == "word1 word2"
    assert [item.id[:3] for item in final.output] == ["rs_", "msg"]
    assert final.usage.output_tokens == len(reasoning) - 3 + 2


def test_a_streamed_function_call_grows_from_its_name_to_its_arguments(
    client: openai.OpenAI,
) -> None:
    events = _events(client, _ADA, tools=[_TOOL])
    added = next(event for event in events if event.type == "response.output_item.added")
    pieces = [event.delta for event in events if event.type.endswith("arguments.delta")]
    done = next(event for event in events if event.type.endswith("arguments.done"))
    assert (added.item.name, added.item.arguments) == ("update_profile", "")
    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == json.loads(done.arguments) == {"display_name": "Ada"}


def test_a_plain_response_says_the_same(client: openai.OpenAI) -> None:
    spoken = client.responses.create(model="demo", input="hello [[deltas=3]]")
    calling = client.responses.create(model="demo", input=_ADA, tools=[_TOOL])  # type: ignore[list-item]
    assert spoken.output_text == "word1 word2 word3"
    assert [item.type for item in calling.output] == ["function_call"]


def test_chat_chunks_carry_reasoning_text_usage_and_an_end(client: openai.OpenAI) -> None:
    chunks = _chunks(client, "think [[deltas=2]]", stream_options={"include_usage": True})
    deltas = [chunk.choices[0].delta for chunk in chunks[:-1]]
    assert deltas[0].role == "assistant"
    assert any(getattr(delta, "reasoning_content", None) for delta in deltas)
    assert [delta.content for delta in deltas if delta.content] == ["word1 ", "word2"]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 2


def test_chat_tool_calls_come_as_deltas_and_plain(client: openai.OpenAI) -> None:
    text = '[[tool=a {"x": "a long enough argument"}]] [[tool=b]]'
    chunks = _chunks(client, text)
    arguments = ["", ""]
    names: list[str] = []
    for chunk in chunks:
        for call in chunk.choices[0].delta.tool_calls or ():
            names += [call.function.name] if call.function.name else []
            arguments[call.index] += call.function.arguments
    plain = client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": text}]
    )
    assert names == ["a", "b"]
    assert arguments == ['{"x": "a long enough argument"}', "{}"]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert [call.id[:5] for call in plain.choices[0].message.tool_calls or ()] == ["call_"] * 2


def test_a_conversation_goes_on_after_a_chat_tools_output(client: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    messages: Any = [
        {"role": "user", "content": [{"type": "text", "text": "[[tool=clock]]"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
    ]
    answer = client.chat.completions.create(model="demo", messages=messages)
    assert answer.choices[0].message.content == "The tool clock answered: noon."


def test_models_are_listed_and_health_needs_no_key(client: openai.OpenAI, demo_url: str) -> None:
    assert [model.id for model in client.models.list()] == ["demo"]
    assert httpx.get(f"{demo_url}/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions", "/v1/traces/ingest"])
def test_a_missing_key_is_openais_401(demo_url: str, path: str) -> None:
    answer = httpx.post(demo_url + path, json={})
    assert answer.status_code == 401
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


_MESSAGE = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("responses", "{not json", "JSON"),
        ("responses", "[1]", "object"),
        ("responses", {"input": "hi"}, "model"),
        ("responses", {"model": "m"}, "input"),
        ("responses", {"model": "m", "input": 7}, "input"),
        ("responses", {"model": "m", "input": ["hi"]}, "input[0]"),
        ("responses", {"model": "m", "input": "hi", "tools": 7}, "tools"),
        ("responses", {"model": "m", "input": "hi", "tools": [7]}, "tools[0]"),
        ("responses", {"model": "m", "input": "hi", "previous_response_id": "r"}, "input"),
        ("responses", {"model": "m", "input": "[[fault=zap]]"}, "[[fault=zap]]"),
        ("chat/completions", {"model": "m"}, "messages"),
        ("chat/completions", {"model": "m", "messages": "hi"}, "messages"),
        ("chat/completions", {"messages": [_MESSAGE]}, "model"),
        (
            "chat/completions",
            {"model": "m", "messages": [{"role": "assistant", "tool_calls": [{}]}]},
            "function",
        ),
        ("traces/ingest", "{", "JSON"),
    ],
)
def test_bad_input_is_a_400_that_names_it(
    http: httpx.Client, path: str, body: object, named: str
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = http.post(f"/v1/{path}", content=content)
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]


def test_an_unknown_path_is_openais_404(http: httpx.Client) -> None:
    answer = http.get("/v1/nothing")
    assert answer.status_code == 404
    assert "GET /v1/nothing" in answer.json()["error"]["message"]


def test_requests_are_recorded_without_the_key_until_reset(http: httpx.Client) -> None:
    http.post("/_demo/reset")
    asked = {"model": "m", "input": "hello"}
    http.post("/v1/responses", json=asked, headers={"traceparent": "00-a-b-01"})
    shown = http.get("/_demo/requests")
    assert shown.json() == {
        "total": 1,
        "data": [
            {
                "path": "/v1/responses",
                "authorization": True,
                "body": {"model": "m", "input": "hello"},
                "traceparent": "00-a-b-01",
                "atOnce": 1,
            }
        ],
    }
    assert "sk-secret" not in shown.text
    http.post("/_demo/reset")
    assert http.get("/_demo/requests").json() == {"total": 0, "data": []}


def test_the_sdks_trace_exporter_is_recorded(http: httpx.Client, demo_url: str) -> None:
    http.post("/_demo/reset")
    exporter = BackendSpanExporter(api_key="k", endpoint=f"{demo_url}/v1/traces/ingest")
    trace = TraceImpl(
        name="a workflow",
        trace_id="trace_1",
        group_id=None,
        metadata={},
        processor=None,  # type: ignore[arg-type]
    )
    exporter.export([trace])
    exporter.close()  # type: ignore[no-untyped-call]
    recorded = http.get("/_demo/traces").json()["data"]
    assert recorded[0]["body"]["data"][0]["workflow_name"] == "a workflow"


def test_pace_and_delay_take_their_time(client: openai.OpenAI) -> None:
    started = time.monotonic()
    _events(client, "[[deltas=5]] [[tokens_per_s=100]] [[delay=0.05]]")
    client.responses.create(model="demo", input="[[deltas=5]] [[tokens_per_s=100]]")
    assert time.monotonic() - started > 0.05 + 0.04 + 0.05


def test_a_large_answer_arrives_whole_in_both_apis(client: openai.OpenAI) -> None:
    events = _events(client, "[[large=200000]]")
    chunks = _chunks(client, "[[large=200000]] [[deltas=7]]")
    texts = [chunk.choices[0].delta.content for chunk in chunks]
    assert len(events[-1].response.output_text) == 200_000
    assert len("".join(text or "" for text in texts)) == 200_000
    assert len([text for text in texts if text]) == 7
