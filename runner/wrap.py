"""Wrapping agents in place, once, so that unmodified SDK code is journalled wherever it calls.

Tools find the run they belong to by contextvar; agents keep their identity and can be shared by
any number of runs. The private names of the SDK used here are held by
tests/runner/test_sdk_names.py.
"""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from agents import Agent, FunctionTool, Handoff, HostedMCPTool, Model
from agents.agent_tool_state import get_agent_tool_state_scope, peek_agent_tool_run_result
from agents.tool import _DEFAULT_FAILURE_HANDLED_ATTR as FAILED_AS_TEXT
from agents.tool import _SYNC_FUNCTION_TOOL_MARKER as SYNC_MARKER
from agents.tool import _FailureHandlingFunctionToolInvoker as SdkInvoker
from agents.tool import _invoke_function_tool_with_metadata as invoke_with_metadata
from agents.tool_context import ToolContext

from runner import codec
from runner.calls import recorded_call, show, shown_step
from runner.carried import CARRIED, CarriedRun
from runner.hooks import journaled_hooks, turn_ended
from runner.journal import Key
from runner.models.digest import call_digest
from runner.models.provider import journaled
from runner.natives import refuse, wrap_hosted
from runner.scope import SCOPE, Scope
from runner.theirs import theirs
from runner.turns import ApprovalPredicate, Predicate
from shared.protocol.ids import place_of
from shared.telemetry.metrics import AGENT_CALLS

#: A model instance of the agent's own is bounded like those of the provider.
MODEL_TIMEOUT_S = 600.0


def wrap_agent(agent: Agent[Any]) -> None:
    """Wrap everything that can be reached from an agent; wrapping again changes nothing.

    Raises:
        BatonError: `agent_error`, it uses what cannot be replayed.
    """
    for one in reachable(agent):
        refuse(one)
        if isinstance(one.model, Model):
            one.model = journaled(one.model, timeout_s=MODEL_TIMEOUT_S)
        for tool in one.tools:
            if isinstance(tool, FunctionTool):
                wrap_tool(tool)
            elif isinstance(tool, HostedMCPTool):
                wrap_hosted(tool)
        for handoff in one.handoffs:
            if isinstance(handoff, Handoff):
                _wrap_handoff(handoff)
        one.hooks = journaled_hooks(one.hooks)


def reachable(agent: Agent[Any]) -> list[Agent[Any]]:
    """The agent, those it can hand off to, and those it uses as tools."""
    found: list[Agent[Any]] = []
    todo: list[Any] = [agent]
    while todo:
        one = todo.pop(0)
        if not isinstance(one, Agent) or any(one is known for known in found):
            continue
        found.append(one)
        todo += (_target(handoff) for handoff in one.handoffs)
        todo += (getattr(tool, "_agent_instance", None) for tool in one.tools)
    return found


def _target(handoff: Any) -> Any:
    if isinstance(handoff, Handoff):
        reference = handoff._agent_ref
        return reference() if reference else None
    return handoff


class _Journaling:
    """What both kinds of invoker share: look into the journal, else invoke, show and record."""

    inner: FunctionTool
    is_agent: bool

    async def invoke(self, context: ToolContext[Any], arguments: str) -> Any:
        run, scope = CARRIED.get(), SCOPE.get()
        if run is None or scope is None:
            return await self._plain(context, arguments)
        inside = scope.call(context.tool_call_id)
        inside.descends = self.is_agent
        entered = SCOPE.set(inside)
        try:
            carry_out = self._descend if self.is_agent else self._recorded
            with run.parking.at_work(inside.path):
                return await carry_out(run, scope, inside, context, arguments)
        finally:
            SCOPE.reset(entered)

    async def _plain(self, context: ToolContext[Any], arguments: str) -> Any:
        try:
            with theirs():
                made = await invoke_with_metadata(
                    function_tool=self.inner, context=context, arguments=arguments
                )
        finally:
            # A streamed run inside the tool cannot tell when it ends; with the tool it has.
            run, scope = CARRIED.get(), SCOPE.get()
            if run is not None and scope is not None:
                run.leave(scope)
        setattr(context, FAILED_AS_TEXT, made.is_sdk_generated_error)  # for the SDK to find
        return made.output

    async def _recorded(
        self,
        run: CarriedRun,
        scope: Scope,
        inside: Scope,
        context: ToolContext[Any],
        arguments: str,
    ) -> Any:
        call_id = context.tool_call_id

        async def live() -> dict[str, Any]:
            try:
                plain = codec.encode(await self._plain(context, arguments))
            except Exception:
                AGENT_CALLS.labels(run.claimed.agent, "raised").inc()
                raise
            await run.sessions.write(inside)
            record = {"output": plain, **_beside(context)}
            if "failed" in record:
                run.failed_calls.add(call_id)
            AGENT_CALLS.labels(run.claimed.agent, "failed" if "failed" in record else "ok").inc()
            return record | {"shown": await show(run, scope, call_id, codec.as_text(plain))}

        digest = call_digest(self.inner.name, arguments)
        record = await recorded_call(run, scope, call_id, digest, live, inside=inside)
        setattr(context, FAILED_AS_TEXT, "failed" in record)
        context._custom_data = record.get("custom")
        return codec.decode(record["output"])

    async def _descend(
        self,
        run: CarriedRun,
        scope: Scope,
        inside: Scope,
        context: ToolContext[Any],
        arguments: str,
    ) -> Any:
        """An agent as tool: replay goes through its own steps; only what was shown is recorded."""
        output = await self._plain(context, arguments)
        if _waits_for_a_person(context):
            return output  # of which the SDK makes nothing: the agent inside has not ended
        await run.sessions.write(inside)

        async def live() -> dict[str, Any]:
            text = codec.as_text(codec.encode(output))
            return {"shown": await show(run, scope, context.tool_call_id, text)}

        key = Key(scope.name, "shown", place_of(context.tool_call_id))
        digest = call_digest(self.inner.name, arguments)
        await shown_step(run, scope, key, digest, live)
        return output


def _waits_for_a_person(context: ToolContext[Any]) -> bool:
    """Whether the agent inside an agent as tool has ended with calls that need an approval."""
    if context.tool_call is None:
        return False
    place = get_agent_tool_state_scope(context)
    inside = peek_agent_tool_run_result(context.tool_call, scope_id=place)
    return bool(inside is not None and inside.interruptions)


def _beside(context: ToolContext[Any]) -> dict[str, Any]:
    """What the SDK keeps of a call besides its result."""
    found: dict[str, Any] = {}
    if getattr(context, FAILED_AS_TEXT, False):
        found["failed"] = True
    if context._custom_data:
        found["custom"] = codec.encode(context._custom_data)
    return found


class _SdkInvoker(_Journaling, SdkInvoker):
    """In place of the SDK's own invoker; as its subclass it keeps the fail-closed approval."""

    def __init__(self, old: SdkInvoker, inner: FunctionTool) -> None:
        super().__init__(
            old._invoke_tool_impl,
            old._on_handled_error,
            function_tool=old._function_tool,
        )
        self.inner, self.is_agent = inner, inner._is_agent_tool
        if getattr(old, SYNC_MARKER, False):
            setattr(self, SYNC_MARKER, True)

    def __agents_bind_function_tool__(self, function_tool: FunctionTool) -> SdkInvoker:
        return self

    async def __call__(self, ctx: ToolContext[Any], input: str) -> Any:  # noqa: A002 - the SDK's name
        return await self.invoke(ctx, input)


def _noting(handled: Callable[..., None]) -> Callable[..., None]:
    """What the SDK does when it turns a tool's error into a text, after it has been noted."""

    def note(tool: FunctionTool, error: Exception, given: str, context: ToolContext[Any]) -> None:
        if run := CARRIED.get():
            run.failed_calls.add(context.tool_call_id)
        handled(tool, error, given, context)

    return note


class _PlainInvoker(_Journaling):
    """In place of a function that an author gave as `on_invoke_tool`."""

    def __init__(self, inner: FunctionTool) -> None:
        self.inner, self.is_agent = inner, inner._is_agent_tool

    async def __call__(self, ctx: ToolContext[Any], input: str) -> Any:  # noqa: A002
        return await self.invoke(ctx, input)


def wrap_tool(tool: FunctionTool) -> None:
    """Journal a tool's calls and what its predicates say; wrapping again changes nothing."""
    if isinstance(tool.on_invoke_tool, _Journaling):
        return
    if callable(tool.is_enabled):
        tool.is_enabled = Predicate(tool.name, tool.is_enabled, asked_again=True)
    if callable(tool.needs_approval):
        tool.needs_approval = ApprovalPredicate(tool.needs_approval)
    old: Any = tool.on_invoke_tool
    if isinstance(old, SdkInvoker):
        old._on_handled_error = _noting(old._on_handled_error)
    inner = dataclasses.replace(tool)  # which binds a copy of the invoker
    inner._is_agent_tool = tool._is_agent_tool
    tool.timeout_seconds = None  # the time-out acts inside, on what is really invoked
    tool.on_invoke_tool = (
        _SdkInvoker(old, inner) if isinstance(old, SdkInvoker) else _PlainInvoker(inner)
    )


class _HandoffInvoker:
    """In place of a hand-off's function: what the author does at a hand-off is not done again."""

    def __init__(self, inner: Callable[..., Awaitable[Any]], handoff: Handoff[Any, Any]) -> None:
        self.inner, self.handoff = inner, handoff

    async def __call__(self, context: Any, arguments: str) -> Any:
        target = _target(self.handoff)
        if target is not None and not turn_ended():
            return target
        with theirs():
            return await self.inner(context, arguments)


def _wrap_handoff(handoff: Handoff[Any, Any]) -> None:
    if isinstance(handoff.on_invoke_handoff, _HandoffInvoker):
        return
    handoff.on_invoke_handoff = _HandoffInvoker(handoff.on_invoke_handoff, handoff)
    if callable(handoff.is_enabled):
        handoff.is_enabled = Predicate(handoff.tool_name, handoff.is_enabled, asked_again=False)
