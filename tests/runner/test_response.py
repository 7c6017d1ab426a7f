"""Counts of tokens, as servers give them and as they make no sense."""

from typing import Any

import pytest
from openai.types.responses import Response

from runner.models.response import sdk_usage, usage_of


def response(usage: dict[str, Any] | None) -> Response:
    return Response.construct(id="r", output=[], usage=usage)


def test_a_run_that_is_not_streamed_counts_what_was_cached_and_thought() -> None:
    given = {
        "input_tokens": 30,
        "output_tokens": 4,
        "total_tokens": 34,
        "input_tokens_details": {"cached_tokens": 20},
        "output_tokens_details": {"reasoning_tokens": 3},
    }
    counted = sdk_usage(response(given))
    assert (counted.requests, counted.input_tokens, counted.total_tokens) == (1, 30, 34)
    assert counted.input_tokens_details.cached_tokens == 20
    assert counted.output_tokens_details.reasoning_tokens == 3
    assert usage_of(response(given)) == {
        "inputTokens": 30,
        "outputTokens": 4,
        "totalTokens": 34,
        "reasoningTokens": 3,
        "cachedInputTokens": 20,
    }


@pytest.mark.parametrize("count", [1e300, float("nan"), float("inf"), -1, "many", [3], 2**70])
def test_what_is_no_count_is_left_out(count: Any) -> None:
    given = {"input_tokens": count, "output_tokens": 4, "total_tokens": 4.0}
    assert usage_of(response(given)) == {"outputTokens": 4, "totalTokens": 4}


def test_a_server_may_say_nothing_of_tokens() -> None:
    assert usage_of(response(None)) == {}
    assert sdk_usage(response(None)).requests == 0
