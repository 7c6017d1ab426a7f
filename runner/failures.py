"""From exceptions to what people see: a code, and a sentence without anybody's secrets.

Texts of model servers are passed on only where they say what was wrong with the request, and
redacted: OpenAI's own repeats a part of the key when it refuses it.
"""

import asyncio
import traceback
from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx2
import openai
from agents.exceptions import (
    AgentsException,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelBehaviorError,
    ModelRefusalError,
    OutputGuardrailTripwireTriggered,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
    UserError,
)

from runner.models.errors import is_too_long
from runner.models.retry import not_connected
from runner.scope import NoRunContextError
from runner.theirs import storable
from shared.errors import BatonError
from shared.protocol.codes import MEANINGS, Code
from shared.telemetry.redact import redact

_TIMEOUTS = (openai.APITimeoutError, httpx2.TimeoutException, asyncio.TimeoutError)
_CONNECTION = (openai.APIConnectionError, httpx2.TransportError)
_BROKEN_OFF = (httpx2.ReadError, httpx2.RemoteProtocolError)


#: Characters of others' words that people are shown.
MOST_SAID = 500


def failure_of(error: BaseException) -> BatonError:
    """What a run that failed with `error` is said to have failed of."""
    in_agent = False  # the SDK wraps what tools raise in a UserError: no server's fault
    for cause in _causes(error):
        if isinstance(cause, BatonError):
            return cause
        in_agent = in_agent or isinstance(cause, UserError)
        if not in_agent and (code := _upstream_code(cause)) is not None:
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
    if isinstance(error, openai.APIError) and is_too_long(error):
        return Code.CONTEXT_LENGTH
    if isinstance(error, openai.APIStatusError):
        return _status_code(error)
    if isinstance(error, openai.APIResponseValidationError):
        return Code.UPSTREAM_INVALID
    if isinstance(error, _TIMEOUTS) and not_connected(error):
        return Code.UPSTREAM_UNAVAILABLE
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
    if error.status_code in (401, 403):
        return Code.UPSTREAM_AUTH
    if error.status_code == 429:
        return Code.UPSTREAM_RATE_LIMITED
    return Code.UPSTREAM_UNAVAILABLE if error.status_code >= 500 else Code.UPSTREAM_REFUSED


def _from_client(error: BaseException) -> bool:
    """A parse error counts as the server's only where it passed through the client's own code."""
    if isinstance(error, ModelBehaviorError):
        return True
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_globals.get("__name__", "").startswith("openai.") for frame in frames)


def _with_status(code: Code, error: BaseException) -> str:
    """The code's sentence with what helps to find the cause: HTTP status, or who did not answer."""
    sentence = MEANINGS[code].text
    status = getattr(error, "status_code", None)
    if status:
        return f"{sentence[:-1]} (HTTP {status}){_what_helps(code, error)}."
    where = _server_of(error)
    if any(isinstance(cause, _BROKEN_OFF) for cause in _causes(error)):
        sentence = "The model server broke off its answer."
    if where and any(_nobody_there(cause) for cause in _causes(error)):
        return f"Nothing answers at {where}; is the model server running?"
    return f"{sentence[:-1]} ({where})." if where else sentence


def _nobody_there(error: BaseException) -> bool:
    """Whether no connection came about; over one whose certificate is refused, somebody answers."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return not isinstance(error, aiohttp.ClientSSLError)
    return isinstance(error, (aiohttp.ConnectionTimeoutError, httpx2.ConnectError))


def _what_helps(code: Code, error: BaseException) -> str:
    """What the server said of a request it refused; of a refused key that would repeat a part."""
    if code is Code.UPSTREAM_AUTH:
        return "; check OPENAI_API_KEY"
    if code is not Code.UPSTREAM_REFUSED:
        return ""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    return f": {_plain(said)[:MOST_SAID].rstrip('.')}" if isinstance(said, str) and said else ""


def _server_of(error: BaseException) -> str | None:
    """Host and port that were asked; the rest of a URL may hold secrets."""
    try:
        url: Any = error.request.url  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):  # httpx2 raises where a request was never made
        return None
    return f"{url.host}:{url.port}" if url.port else str(url.host)


def _agents_failure(error: BaseException) -> BatonError:
    match error:
        case MaxTurnsExceeded():
            return BatonError(Code.MAX_TURNS)
        case InputGuardrailTripwireTriggered() | OutputGuardrailTripwireTriggered():
            name = error.guardrail_result.guardrail.get_name()
            return BatonError(Code.GUARDRAIL, f"The guardrail {name!r} stopped the run.")
        case ToolInputGuardrailTripwireTriggered() | ToolOutputGuardrailTripwireTriggered():
            name = error.guardrail.get_name()
            return BatonError(Code.GUARDRAIL, f"The guardrail {name!r} stopped the run.")
        case ModelRefusalError():
            said = _plain(error.refusal)[:MOST_SAID]
            return BatonError(Code.AGENT_ERROR, f"The model refused to answer: {said}")
        case NoRunContextError():
            return BatonError(Code.NO_RUN_CONTEXT, str(error))
        case UserError() | AgentsException():
            return BatonError(Code.AGENT_ERROR, _said(error))
    return BatonError(Code.AGENT_ERROR, f"The agent's own code failed: {_said(error)}")


def _said(error: BaseException) -> str:
    """What others' code says."""
    return _plain(f"{type(error).__name__}: {error}")[:MOST_SAID]


def _plain(text: str) -> str:
    """Others' words without secrets, and as they can be stored."""
    return redact(storable(text))
