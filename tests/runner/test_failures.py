"""From exceptions to codes and sentences, without anybody's secrets."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx2
import openai
import orjson
import pytest
from agents.exceptions import (
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelBehaviorError,
    ModelRefusalError,
    UserError,
)

from runner.failures import failure_of
from shared.errors import BatonError
from shared.protocol.codes import MEANINGS, Code

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz"
SAYS = f"Incorrect API key provided: {KEY}, https://user:hunter22@host/"
REQUEST = httpx2.Request("POST", "http://model/v1/responses")


def status(kind: type[openai.APIStatusError], number: int, code: str | None = None) -> Exception:
    response = httpx2.Response(number, request=REQUEST)
    return kind(SAYS, response=response, body={"code": code, "message": SAYS})


TABLE: dict[str, tuple[Callable[[], BaseException], Code]] = {
    "400": (lambda: status(openai.BadRequestError, 400), Code.UPSTREAM_REFUSED),
    "400, too long": (
        lambda: status(openai.BadRequestError, 400, "context_length_exceeded"),
        Code.CONTEXT_LENGTH,
    ),
    "400, too long for a server without a code": (
        lambda: openai.BadRequestError(
            "This model's maximum context length is 4096 tokens.",
            response=httpx2.Response(400, request=REQUEST),
            body={"code": 400},
        ),
        Code.CONTEXT_LENGTH,
    ),
    "401": (lambda: status(openai.AuthenticationError, 401), Code.UPSTREAM_AUTH),
    "403": (lambda: status(openai.PermissionDeniedError, 403), Code.UPSTREAM_AUTH),
    "404": (lambda: status(openai.NotFoundError, 404), Code.UPSTREAM_REFUSED),
    "409": (lambda: status(openai.ConflictError, 409), Code.UPSTREAM_REFUSED),
    "422": (lambda: status(openai.UnprocessableEntityError, 422), Code.UPSTREAM_REFUSED),
    "429": (lambda: status(openai.RateLimitError, 429), Code.UPSTREAM_RATE_LIMITED),
    "500": (lambda: status(openai.InternalServerError, 500), Code.UPSTREAM_UNAVAILABLE),
    "503": (lambda: status(openai.InternalServerError, 503), Code.UPSTREAM_UNAVAILABLE),
    "not reached": (
        lambda: openai.APIConnectionError(message=SAYS, request=REQUEST),
        Code.UPSTREAM_UNAVAILABLE,
    ),
    "time-out": (lambda: openai.APITimeoutError(REQUEST), Code.UPSTREAM_TIMEOUT),
    "an error inside the stream": (
        lambda: openai.APIError(SAYS, REQUEST, body=None),
        Code.UPSTREAM_UNAVAILABLE,
    ),
    "an answer of the wrong shape": (
        lambda: openai.APIResponseValidationError(
            httpx2.Response(200, request=REQUEST), body=None, message=SAYS
        ),
        Code.UPSTREAM_INVALID,
    ),
    "connect": (lambda: httpx2.ConnectError(SAYS), Code.UPSTREAM_UNAVAILABLE),
    "cut": (lambda: httpx2.RemoteProtocolError(SAYS), Code.UPSTREAM_UNAVAILABLE),
    "read": (lambda: httpx2.ReadError(SAYS), Code.UPSTREAM_UNAVAILABLE),
    "hang": (lambda: httpx2.ReadTimeout(SAYS), Code.UPSTREAM_TIMEOUT),
    "no connection free": (lambda: httpx2.PoolTimeout(SAYS), Code.UPSTREAM_TIMEOUT),
    "the whole call too long": (asyncio.TimeoutError, Code.UPSTREAM_TIMEOUT),
    "nonsense": (lambda: ModelBehaviorError(SAYS), Code.UPSTREAM_INVALID),
    "too many turns": (lambda: MaxTurnsExceeded(SAYS), Code.MAX_TURNS),
    "a user's mistake": (lambda: UserError(SAYS), Code.AGENT_ERROR),
    "the agent's own error": (lambda: RuntimeError(SAYS), Code.AGENT_ERROR),
    "the agent's own value error": (lambda: ValueError(SAYS), Code.AGENT_ERROR),
    "its own parse error": (lambda: caught(json.loads, "{"), Code.AGENT_ERROR),
    "ours": (lambda: BatonError(Code.TOOL_TIMEOUT), Code.TOOL_TIMEOUT),
}


def caught(function: Callable[..., Any], *given: Any) -> BaseException:
    with pytest.raises(ValueError, match=r".") as raised:
        function(*given)
    return raised.value


def wrapped(inner: BaseException, outer: BaseException) -> BaseException:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize("case", TABLE)
def test_each_exception_has_its_code_and_tells_no_secret(case: str) -> None:
    made, code = TABLE[case]
    failure = failure_of(made())
    assert failure.code is code
    assert KEY not in failure.message
    assert "hunter22" not in failure.message


@pytest.mark.parametrize("case", TABLE)
def test_a_cause_is_found_under_what_the_sdk_made_of_it(case: str) -> None:
    made, code = TABLE[case]
    if code in (Code.AGENT_ERROR, Code.MAX_TURNS):
        return
    failure = failure_of(wrapped(made(), RuntimeError("around it")))
    assert failure.code is code


def test_what_a_tool_raised_is_not_blamed_on_the_model_server() -> None:
    for inner in (TimeoutError("mine"), httpx2.ConnectError("my own call")):
        failure = failure_of(wrapped(inner, UserError("Error running tool x")))
        assert failure.code is Code.AGENT_ERROR
    refused = BatonError(Code.TOOL_ARGUMENTS)
    assert failure_of(wrapped(refused, UserError("Error running tool x"))) is refused


def test_a_status_is_told_and_the_servers_words_are_not() -> None:
    failure = failure_of(status(openai.RateLimitError, 429))
    assert failure.message == MEANINGS[failure.code].text[:-1] + " (HTTP 429)."


def test_a_guardrail_is_named() -> None:
    named = SimpleNamespace(guardrail=SimpleNamespace(get_name=lambda: "no maths"))
    failure = failure_of(InputGuardrailTripwireTriggered(named))  # type: ignore[arg-type]
    assert (failure.code, failure.message) == (
        Code.GUARDRAIL, "The guardrail 'no maths' stopped the run.",
    )  # fmt: skip


def test_an_answer_that_breaks_off_is_told_from_a_server_that_is_not_there() -> None:
    cut = httpx2.ReadError("cut", request=REQUEST)
    for error in (cut, wrapped(cut, openai.APIConnectionError(request=REQUEST))):
        assert failure_of(error).message == "The model server broke off its answer (model)."


def test_a_refusal_is_the_models_own_words() -> None:
    failure = failure_of(ModelRefusalError(f"I cannot say {KEY}"))
    assert failure.message.startswith("The model refused to answer: I cannot say ")
    assert KEY not in failure.message


def test_whatever_agents_say_can_be_written_and_stored() -> None:
    failure = failure_of(RuntimeError("a\0b\ud800c" + "x" * 10_000))
    assert "\0" not in failure.message
    assert len(orjson.dumps(failure.message)) < 1000


def test_causes_in_a_circle_end() -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert failure_of(one).code is Code.AGENT_ERROR


def test_what_was_wrong_with_a_request_is_passed_on_without_secrets() -> None:
    body = {"message": f"Unknown model 'gpt-9', with {KEY} and \ud800."}
    response = httpx2.Response(400, request=REQUEST)
    failure = failure_of(openai.BadRequestError("x", response=response, body=body))
    assert failure.message == (
        "The model server refused the request (HTTP 400): "
        "Unknown model 'gpt-9', with [hidden] and ?."
    )


@pytest.mark.parametrize("body", [None, "text", {"message": 7}, {"message": ""}, ["x"]])
def test_a_refusal_without_words_is_told_all_the_same(body: object) -> None:
    response = httpx2.Response(404, request=REQUEST)
    failure = failure_of(openai.NotFoundError("x", response=response, body=body))
    assert failure.message == "The model server refused the request (HTTP 404)."


def test_a_refused_key_is_told_with_its_variable() -> None:
    assert "check OPENAI_API_KEY" in failure_of(status(openai.AuthenticationError, 401)).message
