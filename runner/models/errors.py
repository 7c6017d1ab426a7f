"""Model errors as the journal keeps them: code that caught one has to catch it again in replay.

Texts of model servers may repeat a part of the key, so they are redacted before they are kept.
"""

import re
from typing import Any

import httpx2
import openai
from agents.exceptions import ModelBehaviorError

from runner.models.retry import not_connected
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.telemetry.redact import redact, redact_value

_STATUS_ERRORS = {kind.__name__: kind for kind in openai.APIStatusError.__subclasses__()}
#: How servers say it that have no code for it: vLLM, llama.cpp, LM Studio, Ollama and what is
#: made of them.
_TOO_LONG = re.compile(
    r"maximum context length|exceeds? the (available |model's )?context|context (the )?overflow"
    r"|context (length|size|window) (of|exceeded)|input (length|is too long).{0,40}context",
    re.IGNORECASE,
)
_REQUEST = httpx2.Request("POST", "http://model")


def described(error: Exception) -> dict[str, Any] | None:
    """What to keep of an error; `None` for one that says nothing about the model server."""
    message = redact(str(error))
    match error:
        case openai.APIStatusError():
            return {
                "class": type(error).__name__,
                "status": error.status_code,
                "message": message,
                "body": redact_value(error.body),
            }
        case openai.APITimeoutError() if not_connected(error):
            return {"class": "APITimeoutError", "message": message, "connected": False}
        case openai.APITimeoutError() | openai.APIConnectionError() | ModelBehaviorError():
            return {"class": type(error).__name__, "message": message}
        case openai.APIError():
            return {"class": "APIError", "message": message, "body": redact_value(error.body)}
        case BatonError():
            return {"class": "BatonError", "code": error.code, "message": message}
        case TimeoutError():
            return {"class": "TimeoutError", "message": message}
    return None


def is_too_long(error: openai.APIError) -> bool:
    """Whether a server refuses an input because its model cannot take so much."""
    if error.code == "context_length_exceeded":
        return True
    status = getattr(error, "status_code", 400)
    kind = "exceed_context_size_error"
    return status in (400, 413) and (error.type == kind or bool(_TOO_LONG.search(error.message)))


def raised_again(kept: dict[str, Any]) -> Exception:
    """The error that was kept, of the same class with the same status, code and body."""
    name, message = kept["class"], kept["message"]
    match name:
        case "APITimeoutError":
            error = openai.APITimeoutError(request=_REQUEST)
            if not kept.get("connected", True):
                error.__cause__ = httpx2.ConnectTimeout(message, request=_REQUEST)
            return error
        case "APIConnectionError":
            return openai.APIConnectionError(message=message, request=_REQUEST)
        case "APIError":
            return openai.APIError(message, _REQUEST, body=kept["body"])
        case "ModelBehaviorError":
            return ModelBehaviorError(message)
        case "BatonError":
            return BatonError(Code(kept["code"]), message)
        case "TimeoutError":
            return TimeoutError(message)
    response = httpx2.Response(kept["status"], request=_REQUEST)
    kind = _STATUS_ERRORS.get(name, openai.APIStatusError)
    return kind(message, response=response, body=kept["body"])
