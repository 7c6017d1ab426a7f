"""Refusals in OpenAI's error shape: `{"error": {"message", "type", "param", "code"}}`."""

from dataclasses import dataclass, field

import orjson


@dataclass(slots=True)
class ApiError(Exception):
    """The request is answered with this HTTP status and OpenAI's error body."""

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """The JSON body as OpenAI writes it."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return orjson.dumps({"error": error})


def bad_request(message: str, *, code: str | None = None, param: str | None = None) -> ApiError:
    """A 400: the caller has to change the request."""
    return ApiError(400, message, code=code, param=param)


def missing_key() -> ApiError:
    """The 401 that OpenAI gives to a request without a bearer key."""
    return ApiError(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization "
        "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
    )


def unknown_url(method: str, path: str) -> ApiError:
    """The 404 that OpenAI gives for a path or method it does not serve."""
    return ApiError(404, f"Invalid URL ({method} {path})")
