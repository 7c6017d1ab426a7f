"""`GET /tools`, `POST /tools/{name}` and `GET /files/{id}`: what a runner sees of tools.

Who calls, and for whom, is in the run's token; the body holds the arguments and nothing else.
"""

import hmac
import re
from collections.abc import Iterable
from hashlib import sha256
from json import dumps
from time import perf_counter
from typing import Any, Protocol

import httpx
import orjson
from fastapi import APIRouter, Request
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import Response

from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.strict_json import NotJsonError, loads
from shared.settings.toolsvc import ToolsvcSettings
from shared.telemetry.logs import bound, user_hash
from shared.telemetry.metrics import TOOL_SECONDS
from shared.telemetry.redact import redact
from shared.tokens import RunClaims, verify_run_token
from shared.web.files import file_key, file_response
from toolsvc.effects import EffectKey, Found, Standing
from toolsvc.execution import Executor
from toolsvc.files import read
from toolsvc.registry import Registry
from toolsvc.tool import OnError, Tool
from toolsvc.tool_schema import ArgumentsError

router = APIRouter(tags=["tools"])

#: The ids that models give to their calls, and no more than an index entry has room for.
_CALL_ID = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)
_SCOPE = re.compile(r"[\x20-\x7e]{0,2000}", re.ASCII)
#: Other requests to toolsvc may be larger.
MAX_BODY_BYTES = 1_048_576
_REPLAYED = {"baton-replayed": "1"}


class ToolServices(Protocol):
    """What these routes need of `app.state.services`."""

    @property
    def engine(self) -> AsyncEngine: ...  # noqa: D102

    @property
    def settings(self) -> ToolsvcSettings: ...  # noqa: D102

    @property
    def registry(self) -> Registry: ...  # noqa: D102

    @property
    def connections(self) -> httpx.AsyncBaseTransport: ...  # noqa: D102

    @property
    def instance(self) -> str: ...  # noqa: D102


@router.get("/tools")
async def list_tools(request: Request) -> Response:
    """All tools for a runner's key; those that its run may call for a run token."""
    services: ToolServices = request.app.state.services
    tools: Iterable[Tool] = services.registry.tools.values()
    if not _is_runner(request, services.settings):
        claims = _claims(request, services.settings)
        tools = [tool for tool in tools if permits(claims, tool)]
    return _json({"data": [tool.catalogue_entry() for tool in tools]})


@router.post("/tools/{name}")
async def call_tool(name: str, request: Request) -> Response:
    """Run a tool once, or answer as the same call was answered before."""
    services: ToolServices = request.app.state.services
    begun = perf_counter()
    claims = _claims(request, services.settings)
    with bound(run=claims.public_run, thread=claims.public_thread, user=user_hash(claims.user)):
        tool = _permitted_tool(services.registry, claims, name)
        outcome = "refused"
        try:
            found = await _carry_out(request, services, claims, tool)
            outcome = _label(found)
            return _answer(found, tool, request.scope.get("request_id", ""))
        finally:
            TOOL_SECONDS.labels(tool.name, outcome).observe(perf_counter() - begun)


@router.get("/files/{id}")
async def get_file(id: str, request: Request) -> Response:  # noqa: A002 - the path's word
    """Read a file that this run has made, or one that it continues."""
    services: ToolServices = request.app.state.services
    claims = _claims(request, services.settings)
    async with services.engine.connect() as connection:
        return file_response(id, *await read(connection, claims, file_key(id)))


def permits(claims: RunClaims, tool: Tool) -> bool:
    """Whether a run's token allows this tool."""
    named = claims.tools is None or tool.name in claims.tools
    return named and tool.scope in claims.scopes


async def _carry_out(
    request: Request, services: ToolServices, claims: RunClaims, tool: Tool
) -> Found:
    arguments = _arguments(await request.body())
    canonical = canonical_json(arguments)
    key = EffectKey(
        root=claims.root,
        scope=_header(request, "baton-scope", _SCOPE, default=""),
        call=_header(request, "idempotency-key", _CALL_ID),
        digest=sha256(canonical.encode()).digest(),
    )
    try:
        values = tool.parameters.read(arguments)
    except ArgumentsError as error:
        raise BatonError(Code.TOOL_ARGUMENTS, str(error), onError=tool.on_error) from None
    executor = Executor(
        engine=services.engine,
        connections=services.connections,
        instance=services.instance,
        timeout_s=services.settings.tool_timeout_s,
        max_result_bytes=services.settings.max_result_bytes,
    )
    return await executor.carry_out(tool, claims, key, given=canonical, arguments=values)


def canonical_json(arguments: dict[str, Any]) -> str:
    """The arguments as text, whatever the order of their keys and the space between them."""
    try:
        return dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except RecursionError:
        raise BatonError(Code.TOOL_ARGUMENTS, "arguments: they are nested too deeply.") from None


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


def _permitted_tool(registry: Registry, claims: RunClaims, name: str) -> Tool:
    tool = registry.tools.get(name)
    if tool is None:
        raise BatonError(Code.TOOL_UNKNOWN, onError=OnError.RUN)
    if not permits(claims, tool):
        message = f"This run may not call {tool.name}; it would need the scope {tool.scope}."
        raise BatonError(Code.FORBIDDEN, message, onError=OnError.RUN)
    return tool


def _claims(request: Request, settings: ToolsvcSettings) -> RunClaims:
    return verify_run_token(settings.run_token_key.get_secret_value(), _bearer(request))


def _is_runner(request: Request, settings: ToolsvcSettings) -> bool:
    key = settings.runner_key.get_secret_value()
    return hmac.compare_digest(_bearer(request).encode(), key.encode())


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _header(
    request: Request, name: str, pattern: re.Pattern[str], default: str | None = None
) -> str:
    value = request.headers.get(name, default)
    if value is None or not pattern.fullmatch(value):
        problem = "is missing" if value is None else "is not what it may be"
        raise BatonError(Code.BAD_INPUT, f"The header {name} {problem}.")
    return value


def _label(found: Found) -> str:
    if found.standing is Standing.SETTLED:
        return "replayed"
    return "failed" if found.outcome and found.outcome.code else "done"


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
