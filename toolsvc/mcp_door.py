"""`/mcp`: the same tools over MCP (streamable HTTP), with the same tokens and the same ledger.

A request is complete in itself: no session, so any instance answers it. The library is imported
with the first one, for most installations never see any.
"""

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

import orjson
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.telemetry.otlp import traced
from shared.telemetry.redact import redact
from shared.telemetry.tracecontext import HEADER
from toolsvc.calling import MAX_BODY_BYTES, ToolServices, call, permitted
from toolsvc.effects import Found, Standing
from toolsvc.tool_api import CALL_ID, SCOPE, claims_of, header_of

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp_types import (
        CallToolRequestParams,
        CallToolResult,
        ListToolsResult,
        PaginatedRequestParams,
    )

PATH = "/mcp"

#: In a call's `_meta`: what makes a repeat the same call, and where in the run it is made.
CALL_ID_META = "baton/call-id"
SCOPE_META = "baton/scope"
#: In a result's `_meta`: the code of an error, and whether the ledger had the result already.
CODE_META = "baton/code"
REPLAYED_META = "baton/replayed"

_INVALID_PARAMS = -32602
_REFUSED = -32000


class McpDoor:
    """The ASGI app below `/mcp`; to be closed with the process."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None
        self._opening = asyncio.Lock()
        self._over = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of somebody who has a run token."""
        request = Request(scope)
        services: ToolServices = request.app.state.services
        claims_of(request, services.settings)  # refused like everywhere, before anything is read
        async with self._opening:
            app = self._app or await self._open()
        await app(scope, receive, send)

    async def close(self) -> None:
        """End what is open."""
        self._over.set()
        if self._serving is not None:
            await self._serving

    async def _open(self) -> ASGIApp:
        from mcp.server.lowlevel import Server  # noqa: PLC0415 - it takes half a second
        from mcp.server.streamable_http_manager import (  # noqa: PLC0415
            StreamableHTTPSessionManager,
        )

        server = Server("baton", on_list_tools=_list_tools, on_call_tool=_call_tool)
        manager = StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=MAX_BODY_BYTES
        )
        ready = asyncio.Event()

        async def serve() -> None:
            async with AsyncExitStack() as lifetime:  # its task group belongs to one task
                await lifetime.enter_async_context(manager.run())
                ready.set()
                await self._over.wait()

        self._serving = asyncio.create_task(serve(), name="mcp")
        await ready.wait()
        self._app = manager.handle_request
        return self._app


async def _list_tools(
    context: "ServerRequestContext[Any, Any]", _: "PaginatedRequestParams | None"
) -> "ListToolsResult":
    import mcp_types as types  # noqa: PLC0415

    request = _request_of(context)
    services: ToolServices = request.app.state.services
    tools = [
        types.Tool(
            name=tool.name,
            description=tool.description,
            input_schema=tool.parameters.published,
            annotations=types.ToolAnnotations(idempotent_hint=tool.idempotent),
        )
        for tool in permitted(services, claims_of(request, services.settings))
    ]
    return types.ListToolsResult(tools=tools)


async def _call_tool(
    context: "ServerRequestContext[Any, Any]", asked: "CallToolRequestParams"
) -> "CallToolResult":
    from mcp.shared.exceptions import MCPError  # noqa: PLC0415

    request = _request_of(context)
    services: ToolServices = request.app.state.services
    meta: Mapping[str, Any] = context.meta or {}
    try:
        with traced("tools/call", meta.get(HEADER)):  # MCP's library puts it there (SEP-414)
            _, found = await call(
                services,
                claims_of(request, services.settings),
                asked.name,
                asked.arguments or {},
                call_id=_named(request, meta, CALL_ID_META, "idempotency-key") or _new_call_id(),
                scope=_named(request, meta, SCOPE_META, "baton-scope"),
            )
    except BatonError as error:
        if error.code is Code.TOOL_ARGUMENTS:  # which a model can mend
            return _result(error.message, code=error.code)
        code = _INVALID_PARAMS if error.code is Code.TOOL_UNKNOWN else _REFUSED
        raise MCPError(code, redact(error.message), {"code": error.code}) from None
    return _told(found)


def _request_of(context: "ServerRequestContext[Any, Any]") -> Request:
    """The HTTP request that a message came with."""
    return cast("Request", context.request)


def _named(request: Request, meta: Mapping[str, Any], key: str, header: str) -> str:
    """What `_meta` says, else a header, else nothing."""
    pattern = SCOPE if key == SCOPE_META else CALL_ID
    if key in meta:
        value = meta[key]
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise BatonError(Code.BAD_INPUT, f"_meta: {key} is not what it may be.")
        return value
    return header_of(request, header, pattern) if header in request.headers else ""


def _new_call_id() -> str:
    """Whoever names no call makes a new one each time."""
    return f"mcp_{secrets.token_hex(16)}"


def _told(found: Found) -> "CallToolResult":
    outcome = found.outcome
    assert outcome is not None  # noqa: S101 - of a call that was carried out
    replayed = found.standing is Standing.SETTLED
    if outcome.code is not None:
        return _result(redact(outcome.message), code=outcome.code, replayed=replayed)
    value = orjson.loads(outcome.result) if outcome.result else None
    text = value if isinstance(value, str) else outcome.result or "null"
    return _result(text, value=value, replayed=replayed)


def _result(
    text: str, *, value: Any = None, code: str | None = None, replayed: bool = False
) -> "CallToolResult":
    import mcp_types as types  # noqa: PLC0415

    meta = ({CODE_META: str(code)} if code else {}) | ({REPLAYED_META: True} if replayed else {})
    return types.CallToolResult.model_validate(
        {
            "content": [{"type": "text", "text": text}],
            "structuredContent": value if isinstance(value, dict) else None,
            "isError": code is not None,
            "_meta": meta or None,
        }
    )
