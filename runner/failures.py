"""From exceptions to what people see: a code, and a sentence without anybody's secrets.

Texts of model servers are not passed on: OpenAI's own repeats a part of the key.
"""

import asyncio
from collections.abc import Iterator

import httpx2
import openai
from agents.exceptions import (
    AgentsException,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelBehaviorError,
    OutputGuardrailTripwireTriggered,
    UserError,
)

from shared.errors import BatonError
from shared.protocol.codes import MEANINGS, Code
from shared.telemetry.redact import redact

_TIMEOUTS = (openai.APITimeoutError, httpx2.TimeoutException, asyncio.TimeoutError)
_CONNECTION = (openai.APIConnectionError, httpx2.TransportError)


def failure_of(error: BaseException) -> BatonError:
    """What a run that failed with `error` is said to have failed of."""
    for cause in _causes(error):
        if isinstance(cause, BatonError):
            return cause
        if (code := _upstream_code(cause)) is not None:
            return BatonError(code, _with_status(code, cause))
    return _agents_failure(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    todo: BaseException | None = error
    while todo is not None and id(todo) not in seen:
        seen.add(id(todo))
        yield todo
        todo = todo.__cause__


def _upstream_code(error: BaseException) -> Code | None:
    if isinstance(error, openai.APIStatusError):
        return _status_code(error)
    if isinstance(error, openai.APIResponseValidationError):
        return Code.UPSTREAM_INVALID
    if isinstance(error, _TIMEOUTS) or type(error).__name__ == "ModelTimeoutError":
        return Code.UPSTREAM_TIMEOUT
    if isinstance(error, _CONNECTION):
        return Code.UPSTREAM_UNAVAILABLE
    if isinstance(error, openai.APIError):  # an `error` event inside the stream
        return Code.UPSTREAM_UNAVAILABLE
    if isinstance(error, (ModelBehaviorError, ValueError)) and _from_client(error):
        return Code.UPSTREAM_INVALID
    return None


def _status_code(error: openai.APIStatusError) -> Code:
    if error.code == "context_length_exceeded":
        return Code.CONTEXT_LENGTH
    if error.status_code in (401, 403):
        return Code.UPSTREAM_AUTH
    if error.status_code == 429:
        return Code.UPSTREAM_RATE_LIMITED
    return Code.UPSTREAM_UNAVAILABLE if error.status_code >= 500 else Code.UPSTREAM_REFUSED


def _from_client(error: BaseException) -> bool:
    """A parse error counts as the server's only where it rose from the client's own code."""
    if isinstance(error, ModelBehaviorError):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    return name.startswith(("openai.", "json"))


def _with_status(code: Code, error: BaseException) -> str:
    sentence = MEANINGS[code].text
    status = getattr(error, "status_code", None)
    return f"{sentence[:-1]} (HTTP {status})." if status else sentence


def _agents_failure(error: BaseException) -> BatonError:
    match error:
        case MaxTurnsExceeded():
            return BatonError(Code.MAX_TURNS)
        case InputGuardrailTripwireTriggered() | OutputGuardrailTripwireTriggered():
            name = error.guardrail_result.guardrail.get_name()
            return BatonError(Code.GUARDRAIL, f"The guardrail {name!r} stopped the run.")
        case UserError() | AgentsException():
            return BatonError(Code.AGENT_ERROR, redact(f"{type(error).__name__}: {error}")[:500])
    said = redact(f"{type(error).__name__}: {error}")[:500]
    return BatonError(Code.AGENT_ERROR, f"The agent's own code failed: {said}")
