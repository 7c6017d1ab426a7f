"""A call of a tool by a run, by whatever door it comes: who may, once, and how it went."""

from collections.abc import Iterable
from hashlib import sha256
from json import dumps
from time import perf_counter
from typing import Any, Protocol

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.bus.limits import Limit, Limiter
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.settings.toolsvc import ToolsvcSettings
from shared.telemetry.logs import bound, user_hash
from shared.telemetry.metrics import TOOL_SECONDS
from shared.tokens import RunClaims
from toolsvc.effects import EffectKey, Found, Standing
from toolsvc.execution import Executor
from toolsvc.registry import Registry
from toolsvc.tool import OnError, Tool
from toolsvc.tool_schema import ArgumentsError

#: Of a call's arguments; other requests to toolsvc may be larger.
MAX_BODY_BYTES = 1_048_576


class ToolServices(Protocol):
    """What calls need of `app.state.services`."""

    @property
    def engine(self) -> AsyncEngine: ...  # noqa: D102

    @property
    def settings(self) -> ToolsvcSettings: ...  # noqa: D102

    @property
    def registry(self) -> Registry: ...  # noqa: D102

    @property
    def connections(self) -> httpx.AsyncBaseTransport: ...  # noqa: D102

    @property
    def limiter(self) -> Limiter: ...  # noqa: D102

    @property
    def instance(self) -> str: ...  # noqa: D102


def permitted(services: ToolServices, claims: RunClaims) -> Iterable[Tool]:
    """The tools that a run may call."""
    return [tool for tool in services.registry.tools.values() if permits(claims, tool)]


def permits(claims: RunClaims, tool: Tool) -> bool:
    """Whether a run's token allows this tool."""
    named = claims.tools is None or tool.name in claims.tools
    return named and tool.scope in claims.scopes


async def call(
    services: ToolServices,
    claims: RunClaims,
    name: str,
    arguments: dict[str, Any],
    *,
    call_id: str,
    scope: str,
) -> tuple[Tool, Found]:
    """Run a tool once, or find what became of the same call.

    Raises:
        BatonError: `tool_unknown`, `forbidden`, `tool_arguments`, `rate_limited`, and what
            `Executor` raises.
    """
    begun = perf_counter()
    with bound(run=claims.public_run, thread=claims.public_thread, user=user_hash(claims.user)):
        tool = _permitted_tool(services.registry, claims, name)
        outcome = "refused"
        try:
            most = services.settings.tool_calls_per_minute
            await services.limiter.count(Limit("tool_calls", str(claims.user), most))
            found = await _carry_out(services, claims, tool, arguments, call_id, scope)
            outcome = _label(found)
            return tool, found
        finally:
            TOOL_SECONDS.labels(tool.name, outcome).observe(perf_counter() - begun)


async def _carry_out(
    services: ToolServices,
    claims: RunClaims,
    tool: Tool,
    arguments: dict[str, Any],
    call_id: str,
    scope: str,
) -> Found:
    canonical = canonical_json(arguments)
    digest = sha256(canonical.encode()).digest()
    key = EffectKey(root=claims.root, scope=scope, call=call_id, digest=digest)
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


def _permitted_tool(registry: Registry, claims: RunClaims, name: str) -> Tool:
    tool = registry.tools.get(name)
    if tool is None:
        raise BatonError(Code.TOOL_UNKNOWN, onError=OnError.RUN)
    if not permits(claims, tool):
        lacks = f"it would need the scope {tool.scope}"
        why = (
            "the agent.yaml of its agent does not name it" if tool.scope in claims.scopes else lacks
        )
        message = f"This run may not call {tool.name}; {why}."
        raise BatonError(Code.FORBIDDEN, message, onError=OnError.RUN)
    return tool


def _label(found: Found) -> str:
    if found.standing is Standing.SETTLED:
        return "replayed"
    return "failed" if found.outcome and found.outcome.code else "done"
