"""`GET /tools`, `POST /tools/{name}`, `POST` and `GET /files`: what a runner sees of tools.

Who calls, and for whom, is in the run's token; the body holds the arguments and nothing else.
"""

import hmac
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from shared.errors import BatonError
from shared.media import MAX_FILE_BYTES
from shared.protocol.codes import Code
from shared.protocol.strict_json import NotJsonError, loads
from shared.settings.toolsvc import ToolsvcSettings
from shared.telemetry.redact import redact
from shared.tokens import RunClaims, verify_run_token
from shared.web.files import file_id, file_key, file_link, file_response
from toolsvc.calling import MAX_BODY_BYTES, ToolServices, call, permitted
from toolsvc.effects import Found, Standing
from toolsvc.files import keep_own, new_file, read
from toolsvc.tool import Tool

router = APIRouter(tags=["tools"])

#: The ids that models give to their calls, and no more than an index entry has room for.
CALL_ID = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)
SCOPE = re.compile(r"[\x20-\x7e]{0,2000}", re.ASCII)
#: Escaped as in a URL.
_NAME = re.compile(r"[\x21-\x7e]{1,2000}", re.ASCII)
_REPLAYED = {"baton-replayed": "1"}


@router.get("/tools")
async def list_tools(request: Request) -> Response:
    """All tools for a runner's key; those that its run may call for a run token."""
    services: ToolServices = request.app.state.services
    tools: Iterable[Tool] = services.registry.tools.values()
    if not _is_runner(request, services.settings):
        tools = permitted(services, claims_of(request, services.settings))
    return _json({"data": [tool.catalogue_entry() for tool in tools]})


@router.post("/tools/{name}")
async def call_tool(name: str, request: Request) -> Response:
    """Run a tool once, or answer as the same call was answered before."""
    services: ToolServices = request.app.state.services
    tool, found = await call(
        services,
        claims_of(request, services.settings),
        name,
        _arguments(await request.body()),
        call_id=header_of(request, "idempotency-key", CALL_ID),
        scope=header_of(request, "baton-scope", SCOPE, default=""),
    )
    return _answer(found, tool, request.scope.get("request_id", ""))


@router.post("/files")
async def put_file(request: Request) -> Response:
    """Keep a file that a run's own code has made; the same one again is the one it was."""
    services: ToolServices = request.app.state.services
    claims = claims_of(request, services.settings)
    scope = header_of(request, "baton-scope", SCOPE, default="")
    name = unquote(header_of(request, "baton-name", _NAME))
    content = await request.body()
    if len(content) > MAX_FILE_BYTES:
        raise BatonError(Code.TOO_LARGE, f"A file has {MAX_FILE_BYTES:,} bytes at most.")
    try:
        file = new_file(name, content)
    except ValueError as error:
        raise BatonError(Code.BAD_INPUT, f"The file is refused: {error}.") from None
    async with services.engine.begin() as connection:
        kept = await keep_own(connection, claims, file, scope=scope)
    return _json({"id": file_id(kept), "link": file_link(kept, file.name)})


@router.get("/files/{id}")
async def get_file(id: str, request: Request) -> Response:  # noqa: A002 - the path's word
    """Read a file that this run has made, or one that it continues."""
    services: ToolServices = request.app.state.services
    claims = claims_of(request, services.settings)
    async with services.engine.connect() as connection:
        return file_response(id, *await read(connection, claims, file_key(id)))


def _arguments(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_BODY_BYTES:
        raise BatonError(Code.TOO_LARGE, f"A call may have {MAX_BODY_BYTES:,} bytes at most.")
    try:
        given = loads(body)
    except NotJsonError as error:
        raise BatonError(Code.BAD_INPUT, f"The body is refused: {error}.") from None
    arguments = given.get("arguments") if isinstance(given, dict) else None
    if not isinstance(arguments, dict):
        raise BatonError(Code.BAD_INPUT, 'The body must be {"arguments": {…}}.')
    return arguments


def claims_of(request: Request, settings: ToolsvcSettings) -> RunClaims:
    """What the run token of a request says.

    Raises:
        BatonError: `not_signed_in` and the like, where it is none of ours, or too old.
    """
    return verify_run_token(settings.run_token_key.get_secret_value(), _bearer(request))


def _is_runner(request: Request, settings: ToolsvcSettings) -> bool:
    key = settings.runner_key.get_secret_value()
    return hmac.compare_digest(_bearer(request).encode(), key.encode())


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def header_of(
    request: Request, name: str, pattern: re.Pattern[str], default: str | None = None
) -> str:
    """A header that may be what `pattern` says.

    Raises:
        BatonError: `bad_input`.
    """
    value = request.headers.get(name, default)
    if value is None or not pattern.fullmatch(value):
        problem = "is missing" if value is None else "is not what it may be"
        raise BatonError(Code.BAD_INPUT, f"The header {name} {problem}.")
    return value


def _answer(found: Found, tool: Tool, request_id: str) -> Response:
    outcome = found.outcome
    assert outcome is not None  # noqa: S101 - of a call that was carried out
    headers = _REPLAYED if found.standing is Standing.SETTLED else {}
    if outcome.code is None:
        content = f'{{"result":{outcome.result or "null"}}}'
        return Response(content, headers=headers, media_type="application/json")
    error = {
        "code": outcome.code,
        "message": redact(outcome.message),
        "requestId": request_id,
        "onError": tool.on_error,
    }
    return _json({"error": error}, outcome.status, headers)


def _json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
