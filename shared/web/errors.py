"""Errors over HTTP: `{"error": {"code", "message", "requestId"}}`, never a stack trace.

A door that speaks another protocol has a shape of its own.
"""

from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import Any, NamedTuple

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.errors import (
    BatonError,
    InvalidFieldError,
    RateLimitedError,
    Store,
    UnsatisfiableRangeError,
    as_away,
)
from shared.protocol.codes import Code
from shared.telemetry.logs import get_logger
from shared.telemetry.redact import redact
from shared.wording import sentence_of

log = get_logger(__name__)
RETRY_AFTER_S = "1"

_BY_STATUS = {
    400: Code.BAD_INPUT,
    401: Code.NOT_SIGNED_IN,
    403: Code.FORBIDDEN,
    404: Code.NOT_FOUND,
    405: Code.NOT_SUPPORTED,
    413: Code.TOO_LARGE,
}


#: What nobody but the routing says; a thing that is not there is told by its own route.
_OF_ROUTES = {
    404: "There is no such address.",
    405: "This address does not take such requests.",
}


def as_baton_error(error: Exception, stores: Iterable[Store] = ()) -> BatonError:
    """What a caller is told of any exception; what is not meant for callers becomes `internal`."""
    if isinstance(error, BatonError):
        return error
    if away := as_away(error, stores):
        return away
    if isinstance(error, RequestValidationError):
        return _first_problem(error)
    if isinstance(error, HTTPException):
        code = _BY_STATUS.get(error.status_code, Code.BAD_INPUT)
        return BatonError(code, _OF_ROUTES.get(error.status_code, str(error.detail)))
    return BatonError(Code.INTERNAL)


class Told(NamedTuple):
    """An error as it goes over HTTP."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]


#: From an error, its HTTP status and the request's id to what goes over HTTP.
Shape = Callable[[BatonError, int, str], Told]
#: Where a request's scope has the shape of its errors, if it is another than ours.
SHAPE = "baton.error_shape"


def our_shape(told: BatonError, status: int, request_id: str) -> Told:
    """`{"error": {"code", "message", "requestId"}}`."""
    body = {
        "code": told.code,
        "message": redact(told.message),
        "requestId": request_id,
        **told.details,
    }
    return Told(status, {"error": body}, {})


def error_response(
    error: Exception,
    request_id: str,
    stores: Iterable[Store] = (),
    shape: Shape = our_shape,
) -> Response:
    """The answer for an exception; unexpected ones are logged with their traceback."""
    told = as_baton_error(error, stores)
    if told.code is Code.INTERNAL:
        log.error("unexpected error", exc_info=error)
    status = error.status_code if isinstance(error, HTTPException) else told.status
    headers = {"retry-after": _retry_after(told)} if told.status in (429, 503) else {}
    if isinstance(told, UnsatisfiableRangeError):
        headers["content-range"] = f"bytes */{told.size}"
    if told.status == 401:
        headers["www-authenticate"] = "Bearer"
    answer = shape(told, status, request_id)
    return Response(
        orjson.dumps(answer.body),
        answer.status,
        headers | dict(answer.headers),
        media_type="application/json",
    )


def _retry_after(told: BatonError) -> str:
    return str(ceil(told.retry_after_s)) if isinstance(told, RateLimitedError) else RETRY_AFTER_S


def install_error_handlers(app: FastAPI, *stores: Store) -> None:
    """Answer every exception of the app in our shape; `stores` are those it works with."""

    async def answer(request: Request, error: Exception) -> Response:
        scope = request.scope
        shape = scope.get(SHAPE, our_shape)
        return error_response(error, scope.get("request_id", ""), stores, shape)

    away = [kind for store in stores for kind in store.errors]
    for kind in (BatonError, RequestValidationError, HTTPException, *away):
        app.add_exception_handler(kind, answer)


def _first_problem(error: RequestValidationError) -> InvalidFieldError:
    first = error.errors()[0]
    place = [part for part in first["loc"] if part not in ("body", "query", "path")]
    return InvalidFieldError(".".join(map(str, place)), sentence_of(place, first["msg"]))
