"""How routes read requests: strict JSON, known callers, ids that look like ids."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, HTTPException, Path, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.responses import Response

from gateway.api.shapes import Problem
from gateway.attachments import MOST_FILES, carried_chars
from gateway.auth.authenticate import authenticate
from gateway.auth.caller import Caller, How
from gateway.auth.origin import SAFE_METHODS, comes_from_elsewhere
from gateway.services import Services
from shared.errors import BatonError
from shared.protocol import strict_json
from shared.protocol.codes import Code
from shared.protocol.ids import is_id
from shared.telemetry.logs import user_hash
from shared.web.middleware import DEFAULT_BODY_LIMIT

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
#: The most laborious JSON of this size is read in some 5 ms; of 1 MiB in some 300.
_AT_ONCE_BYTES = 16_384
#: What may be the data of a file: base64, in which some write a slash behind a backslash.
_DATA = re.compile(rb"[A-Za-z0-9+/=\\]{1024,}")
#: That of smaller files.
_SHORT_BYTES = MOST_FILES * 1024


class StrictRequest(Request):
    """A request whose JSON was parsed strictly already."""

    parsed: Any = None

    async def json(self) -> Any:
        """The body; the same object every time."""
        return self.parsed


class StrictRoute(APIRoute):
    """A route that takes JSON only, and only as RFC 8259 and I-JSON have it; no NUL in the query.

    The body is read before FastAPI does it, because that would turn our 413 into a 400.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            if b"%00" in request.scope["query_string"]:  # SQL has no text with one
                raise BatonError(Code.BAD_INPUT, "The query holds a NUL character.")
            if request.method not in _WITH_BODY:
                return await inner(request)
            strict = StrictRequest(request.scope, request.receive)
            body = await strict.body()
            if body:
                strict.parsed = await _read(body, request.headers.get("content-type", ""))
            return await inner(strict)

        return handler


async def _read(body: bytes, content_type: str) -> Any:
    """What a body says; others are served while a long one is looked at."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send JSON, as application/json.")
    if len(body) <= _AT_ONCE_BYTES:
        return _parse(body)
    return await asyncio.to_thread(_parse, body)


def _parse(body: bytes) -> Any:
    most = DEFAULT_BODY_LIMIT + _SHORT_BYTES
    if len(body) > most and len(_DATA.sub(b"", body)) > most:  # before it is read at all
        raise _too_large()
    try:
        parsed = strict_json.loads(body)
    except strict_json.NotJsonError as error:
        raise HTTPException(400, f"The body cannot be read: {error}.") from None
    _check_length(len(body), parsed)
    return parsed


def _check_length(whole: int, parsed: Any) -> None:
    """What is not the data of files may be as long as anywhere else."""
    if whole > DEFAULT_BODY_LIMIT and whole - carried_chars(parsed) > DEFAULT_BODY_LIMIT:
        raise _too_large()


def _too_large() -> BatonError:
    most = f"{DEFAULT_BODY_LIMIT:,}"
    why = f"Without the data of files the body is larger than {most} bytes: say less at once."
    return BatonError(Code.TOO_LARGE, why)


# What FastAPI calls for a request is a coroutine, always: anything else it hands to a thread.


async def services_of(request: Request) -> Services:
    """What app.py made."""
    services: Services = request.app.state.services
    return services


WithServices = Annotated[Services, Depends(services_of)]


async def refuse_other_sites(request: Request, services: WithServices) -> None:
    """Raise FORBIDDEN where a page of another site makes a browser change something."""
    if request.method not in SAFE_METHODS and comes_from_elsewhere(request, services.settings):
        raise BatonError(Code.FORBIDDEN, "Pages of other sites may not do this.")


async def signed_in(
    request: Request,
    services: WithServices,
    _key: Annotated[object, Security(HTTPBearer(auto_error=False, scheme_name="key"))],
    _cookie: Annotated[
        object,
        Security(APIKeyCookie(name="baton_sign_in", auto_error=False, scheme_name="signIn")),
    ],
) -> Caller:
    """The caller; NOT_SIGNED_IN or, for a cookie sent by a page of another site, FORBIDDEN."""
    caller = await authenticate(services, request)
    if caller.how is How.SIGN_IN:
        await refuse_other_sites(request, services)
    structlog.contextvars.bind_contextvars(user=user_hash(caller.user_id))
    return caller


SignedIn = Annotated[Caller, Depends(signed_in)]


async def admin(caller: SignedIn) -> Caller:
    """The caller, who must be an admin."""
    if not caller.admin:
        raise BatonError(Code.FORBIDDEN, "Only admins may do this.")
    return caller


Admin = Annotated[Caller, Depends(admin)]


async def path_id(id: Annotated[str, Path(description="Public id.")]) -> str:  # noqa: A002
    """An id from the path; a malformed one is as unknown as any other."""
    if not is_id(id):
        raise BatonError(Code.NOT_FOUND)
    return id


PathId = Annotated[str, Depends(path_id)]

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "Refused; the code says why."},
    "503": {"model": Problem, "description": "A store is away; nothing was done. Retry-After."},
}


def api_router(tag: str) -> APIRouter:
    """A router for one resource under `/api`."""
    return APIRouter(prefix="/api", tags=[tag], route_class=StrictRoute, responses=PROBLEMS)
