"""Shapes of answers: the keys that OpenAI's document names, and lines that nothing can break."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.following import Happening
from gateway.openai.answer import NOTHING, Added, Whole
from gateway.openai.completion import Chunks, Identity, completion

OF = Identity(id="chatcmpl-run_1", created=1_790_000_000, model="team/Assistant")
SAID = Happening({"type": "TEXT_MESSAGE_CHUNK", "messageId": "m"}, "1-4")
USAGE: list[dict[str, Any]] = [
    {"model": "a", "inputTokens": 7, "outputTokens": 2, "totalTokens": 9, "cachedInputTokens": 4},
    {"model": "b", "inputTokens": 1, "outputTokens": 5, "totalTokens": 6, "reasoningTokens": 3},
]


def parsed(lines: bytes) -> list[Any]:
    assert lines.endswith(b"\n\n")
    found = lines.removesuffix(b"\n\n").split(b"\n\n")
    assert all(one.startswith(b"data: ") and b"\n" not in one for one in found)
    return [one if one == b"data: [DONE]" else json.loads(one[6:]) for one in found]


def test_a_completion() -> None:
    told = completion(OF, Whole(text="Hello", usage=USAGE))
    ChatCompletion.model_validate(told, strict=True)
    assert set(told) == {"id", "object", "created", "model", "choices", "usage"}
    assert set(told["choices"][0]) == {"index", "message", "logprobs", "finish_reason"}
    assert set(told["choices"][0]["message"]) == {"role", "content", "refusal", "annotations"}
    usage = told["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (8, 7, 15)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 4
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 3


@pytest.mark.parametrize("include_usage", [False, True])
def test_a_stream(include_usage: bool) -> None:
    chunks = Chunks(OF, include_usage=include_usage)
    middle = chunks.happened(SAID, Added("Hi"))
    *told, done = parsed(chunks.opening() + middle + chunks.closing(Whole(text="Hi", usage=USAGE)))
    assert done == b"data: [DONE]"
    keys = {"id", "object", "created", "model", "choices"}
    for one in told:
        ChatCompletionChunk.model_validate(one, strict=True)
        assert set(one) == keys | ({"usage"} if include_usage else set())
    assert [one["choices"][0]["finish_reason"] for one in told[:3]] == [None, None, "stop"]
    if include_usage:
        assert [one["usage"] for one in told[:3]] == [None] * 3
        assert told[3]["choices"] == []
        assert told[3]["usage"]["total_tokens"] == 15
    else:
        assert len(told) == 3


@pytest.mark.parametrize(
    "text",
    [
        "\n\ndata: [DONE]\n\n",
        "\r\n\r\nevent: error\r\ndata: {}\r\r",
        "a\u2028b\u2029c\u0085d\x0b\x0c\x1c\x1d\x1e",
        '"},{"choices":[]}',
        "\ufeff: comment \x00",
        "ünï¢ødé 🎭",
    ],
)
def test_whatever_a_model_writes_stays_in_its_line(text: str) -> None:
    line = Chunks(OF, include_usage=False).happened(SAID, Added(text))
    (told,) = parsed(line)
    assert told["choices"][0]["delta"]["content"] == text
    assert len(line.decode().splitlines()) == 2  # also for clients that know more ends of lines


def test_an_event_of_the_run_stands_in_a_field_of_its_own() -> None:
    event = {"type": "TOOL_CALL_END", "toolCallId": "c"}
    assert Chunks(OF, include_usage=False).happened(Happening(event, "1-5"), NOTHING) == b""
    chunks = Chunks(OF, include_usage=False, events=True)
    assert chunks.happened(SAID, NOTHING) == b""
    (told,) = parsed(chunks.happened(Happening(event, "1-5"), NOTHING))
    assert told["baton"] == {"id": "1-5", "event": event}
    assert told["choices"][0]["delta"] == {}
    ChatCompletionChunk.model_validate(told, strict=True)


@pytest.mark.parametrize(
    ("why", "reason"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), (None, "stop")],
)
def test_why_an_answer_ends(why: str | None, reason: str) -> None:
    whole = Whole(text="Half", incomplete=why)
    told = completion(OF, whole)
    ChatCompletion.model_validate(told, strict=True)
    assert told["choices"][0]["finish_reason"] == reason
    end, _ = parsed(Chunks(OF, include_usage=False).closing(whole))
    assert end["choices"][0]["finish_reason"] == reason
