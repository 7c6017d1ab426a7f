"""Errors as OpenAI tells them: `{"error": {"message", "type", "param", "code"}}`."""

from typing import Any

from shared.errors import BatonError, InvalidFieldError
from shared.protocol.codes import Code
from shared.telemetry.redact import redact
from shared.web.errors import Told

#: OpenAI's words for ours; all others keep their name.
_CODES: dict[Code, str] = {
    Code.BAD_INPUT: "invalid_value",
    Code.NOT_SIGNED_IN: "invalid_api_key",
    Code.UNKNOWN_AGENT: "model_not_found",
    Code.RATE_LIMITED: "rate_limit_exceeded",
}
#: Official clients ask again by themselves after these statuses, unless they are told not to.
_ASKED_AGAIN = (408, 409, 429)


def error_object(told: BatonError, status: int) -> dict[str, Any]:
    """The object `error` of an answer or of a stream's last event."""
    field = told.field if isinstance(told, InvalidFieldError) else None
    return {
        "message": redact(told.message),
        "type": _type(status),
        "param": told.details.get("param", field),
        "code": told.details.get("reason", _CODES.get(told.code, str(told.code))),
    }


def openai_status(status: int) -> int:
    """OpenAI knows no 422."""
    return 400 if status == 422 else status


def openai_shape(told: BatonError, status: int, _request_id: str) -> Told:
    """An error over HTTP: whose run it is, and whether another try would do things twice."""
    status = openai_status(status)
    found = {f"baton-{of}": told.details[of] for of in ("run", "thread") if of in told.details}
    headers: dict[str, str] = {**found}
    if (status in _ASKED_AGAIN or status >= 500) and not _repeatable(told):
        headers["x-should-retry"] = "false"
    return Told(status, {"error": error_object(told, status)}, headers)


def _repeatable(told: BatonError) -> bool:
    return told.retryable and told.details.get("repeatable", True)


def _type(status: int) -> str:
    if status == 429:
        return "requests"
    return "server_error" if status >= 500 else "invalid_request_error"
