"""What a turn had: enabled tools and hand-offs, and the tools of MCP servers.

Predicates (`is_enabled`) may look at a clock or at the context, and a server may be gone or changed
by the time of a replay. So what they said is kept with the model call that followed, and replay
asks the record instead. `needs_approval` needs no record of its own: a call that has one was let
through.
"""

import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from agents import FunctionTool
from agents.tool_context import ToolContext

from runner.carried import CARRIED, CarriedRun
from runner.journal import Key
from runner.scope import SCOPE, Scope
from runner.steps import parsed
from runner.theirs import theirs
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import place_of
from shared.telemetry.logs import get_logger

log = get_logger(__name__)


async def listed(
    run: CarriedRun, scope: Scope, agent: str, ask: Callable[[], Awaitable[list[Any]]]
) -> list[Any]:
    """The tools of an agent's MCP servers: at least those that it had at this turn."""
    recorded = _noted(run, scope)
    names = recorded.get("mcp", {}).get(agent) if recorded else None
    try:
        with theirs():
            tools = [] if run.rehearsed else await ask()
    except Exception as error:
        if names is None:
            raise
        log.warning("an MCP server is away; its recorded tools are replayed", error=str(error))
        tools = []
    found = {tool.name for tool in tools}
    if names is not None:
        return [*tools, *(_gone(name) for name in names if name not in found)]
    scope.notes.setdefault(scope.position, {}).setdefault("mcp", {})[agent] = sorted(found)
    return tools


def _gone(name: str) -> FunctionTool:
    """In place of a tool that its server does not have any more: its recorded calls stay."""

    async def invoke(_context: ToolContext[Any], _arguments: str) -> Any:
        raise BatonError(Code.TOOL_UNKNOWN, f"The MCP server is away, or has no {name!r} any more.")

    return FunctionTool(
        name=name,
        description="",
        params_json_schema={},
        on_invoke_tool=invoke,
        strict_json_schema=False,
    )


#: Set while a turn's tools are being collected.
COLLECTING: ContextVar[bool] = ContextVar("baton_collecting", default=False)


class Predicate:
    """`is_enabled` of a tool or hand-off: one answer for each turn of an agent.

    The SDK asks for hand-offs once, before the model call. For tools it asks then, as it collects
    them, and again before it carries out what the model called.
    """

    def __init__(self, name: str, inner: Callable[..., Any], *, asked_again: bool) -> None:
        self.name, self.inner, self.asked_again = name, inner, asked_again

    async def __call__(self, context: Any, agent: Any) -> bool:
        """The answer of this turn."""
        run, scope = CARRIED.get(), SCOPE.get()
        if run is None or scope is None:
            return await self._ask(context, agent)
        name = f"{agent.name}/{self.name}"
        if self.asked_again and not COLLECTING.get() and name in scope.enabled:
            return scope.enabled[name]
        scope.enabled[name] = answer = await self._of_turn(run, scope, name, context, agent)
        return answer

    async def _of_turn(
        self, run: CarriedRun, scope: Scope, name: str, context: Any, agent: Any
    ) -> bool:
        recorded = _noted(run, scope)
        if recorded is not None and name in recorded.get("enabled", {}):
            return bool(recorded["enabled"][name])
        answers = scope.notes.setdefault(scope.position, {}).setdefault("enabled", {})
        if name not in answers:
            answers[name] = not run.rehearsed and await self._ask(context, agent)
        return bool(answers[name])

    async def _ask(self, context: Any, agent: Any) -> bool:
        with theirs():
            answer = self.inner(context, agent)
            return bool(await answer if inspect.isawaitable(answer) else answer)


class ApprovalPredicate:
    """`needs_approval` of a tool: a call that is recorded was let through."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self.inner = inner

    async def __call__(self, context: Any, arguments: Any, call_id: str) -> bool:
        """Ask only for calls that have not begun."""
        run, scope = CARRIED.get(), SCOPE.get()
        if run is not None and scope is not None and _let_through(run, scope, call_id):
            return False
        with theirs():
            answer = self.inner(context, arguments, call_id)
            return bool(await answer if inspect.isawaitable(answer) else answer)


def _let_through(run: CarriedRun, scope: Scope, call_id: str) -> bool:
    return run.rehearsed or run.journal.knows_call(scope.name, place_of(call_id))


def _noted(run: CarriedRun, scope: Scope) -> dict[str, Any] | None:
    """What is recorded with the model call that comes next here; `None` when that will be live."""
    step = run.journal.holds(Key(scope.name, "model", str(scope.position)))
    record = parsed(step) if step else None
    return record.get("notes", {}) if record else None
