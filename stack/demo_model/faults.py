"""Faults that are an HTTP error, as OpenAI words them."""

from stack.demo_model.errors import ApiError
from stack.demo_model.reply import Fault

#: Short, so that a client which honours it does not slow a test or a demo down.
_RETRY_AFTER_S = "1"

_STATUSES: dict[Fault, tuple[int, str, str, str | None]] = {
    Fault.BAD_REQUEST: (
        400,
        "This request was refused, as it was asked to be.",
        "invalid_request_error",
        "invalid_value",
    ),
    Fault.UNAUTHORIZED: (
        401,
        "Incorrect API key provided.",
        "invalid_request_error",
        "invalid_api_key",
    ),
    Fault.RATE_LIMITED: (
        429,
        "Rate limit reached. Please try again in 1s.",
        "requests",
        "rate_limit_exceeded",
    ),
    Fault.SERVER_ERROR: (
        500,
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
        None,
    ),
    Fault.OVERLOADED: (
        503,
        "The engine is currently overloaded, please try again later.",
        "server_error",
        "engine_overloaded",
    ),
}


def http_error(fault: Fault | None) -> ApiError | None:
    """The error for faults that are one."""
    if fault is None or fault not in _STATUSES:
        return None
    status, message, kind, code = _STATUSES[fault]
    error = ApiError(status, message, type=kind, code=code)
    if fault is Fault.RATE_LIMITED:
        error.headers["retry-after"] = _RETRY_AFTER_S
    return error
