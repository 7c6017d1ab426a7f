"""Every invocation of the SDK's Runner belongs to a run: agents as tools and helpers included.

The Runner is patched on its class, because code that makes an `AgentRunner` of its own would go
around anything less.
"""

import copy
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from agents import Agent, FunctionTool, RunContextWrapper, RunState
from agents.agent import AgentBase
from agents.result import RunResultStreaming
from agents.run import AgentRunner

from runner.carried import CARRIED, CarriedRun, Stop, StopKind
from runner.client_tools import beside
from runner.contexts import ContextWatch
from runner.hooks import ComposedHooks, foresee_changes
from runner.lean import make_lean
from runner.making_up import make_up
from runner.mcp_servers import SERVERS, remember_making
from runner.models.digest import short_digest
from runner.natives import patch_actions
from runner.parking import looks_itself
from runner.scope import SCOPE, NoRunContextError, Scope
from runner.showing import show_left
from runner.theirs import theirs
from runner.turns import COLLECTING, listed
from runner.verdicts import patch_guardrails
from runner.wrap import wrap_agent, wrap_tool
from shared.errors import BatonError


def patch_runner() -> None:
    """Make every invocation of the SDK's Runner in this process belong to a run; once."""
    if getattr(AgentRunner.run, "_baton", False):
        return
    run, run_streamed = AgentRunner.run, AgentRunner.run_streamed

    async def journaled_run(self: Any, starting_agent: Any, input: Any, **kwargs: Any) -> Any:  # noqa: A002
        carried, scope = _enter(starting_agent, input, kwargs)
        inside = SCOPE.set(scope)
        try:
            with carried.home.visiting(), carried.parking.at_work(scope.path):
                result = await run(self, starting_agent, input, **kwargs)
                scope.suspended = bool(result.interruptions)
                if scope.of_author and not scope.suspended:
                    carried.home.soon(show_left, carried, scope, result.new_items)
                if scope.suspended and not (_asks_for_us(scope) or looks_itself()):
                    await carried.parking.ask(scope, result.interruptions)
                return result
        finally:
            SCOPE.reset(inside)
            if scope.of_author:
                carried.leave(scope)

    def journaled_streamed(self: Any, starting_agent: Any, input: Any, **kwargs: Any) -> Any:  # noqa: A002
        # The scope is taken in this call: its task copies the context here.
        carried, scope = _enter(starting_agent, input, kwargs)
        inside = SCOPE.set(scope)
        try:
            result = run_streamed(self, starting_agent, input, **kwargs)
        finally:
            SCOPE.reset(inside)
        if scope.of_author and not scope.nested and result.run_loop_task is not None:
            # Inside a tool it is known to have ended when the tool has.
            result.run_loop_task.add_done_callback(lambda _: carried.leave(scope))
        if not _asks_for_us(scope):
            _park_at_the_end(carried, scope, result)
        return result

    remember_making()
    _patch_tools()
    patch_guardrails()
    patch_actions()
    make_lean()
    journaled_run._baton = True  # type: ignore[attr-defined]
    AgentRunner.run = journaled_run  # type: ignore[method-assign]
    AgentRunner.run_streamed = journaled_streamed  # type: ignore[method-assign]


def _asks_for_us(scope: Scope) -> bool:
    """Whether what an invocation asks comes to us by itself, perhaps through agents as tools."""
    return not scope.of_author or (scope.parent is not None and scope.parent.descends)


def _park_at_the_end(carried: CarriedRun, scope: Scope, result: RunResultStreaming) -> None:
    """Let the end of a stream wait for a person, where its reader knows nothing of that."""
    stream: Any = result.stream_events

    async def events() -> AsyncIterator[Any]:
        with carried.home.visiting(), carried.parking.at_work(scope.path):
            async with aclosing(stream()) as inner:
                async for event in inner:
                    yield event
            if result.interruptions and not looks_itself():
                await carried.parking.ask(scope, result.interruptions)

    result.stream_events = events  # type: ignore[method-assign]


def _patch_tools() -> None:
    """What an agent has at a turn: tools of MCP servers are made anew each time."""
    get_all_tools, get_mcp_tools = AgentBase.get_all_tools, AgentBase.get_mcp_tools

    async def all_tools(self: Any, run_context: Any) -> list[Any]:
        collecting = COLLECTING.set(True)
        try:
            tools = await get_all_tools(self, run_context)
        finally:
            COLLECTING.reset(collecting)
        run, scope = CARRIED.get(), SCOPE.get()
        if run is not None and scope is not None and run.client_tools and not scope.nested:
            tools = beside(self, tools, run.client_tools)
        for tool in tools:
            if isinstance(tool, FunctionTool):
                wrap_tool(tool)
        return tools

    async def mcp_tools(self: Any, run_context: Any) -> list[Any]:
        run, scope = CARRIED.get(), SCOPE.get()
        if run is None or scope is None or not self.mcp_servers:
            return await get_mcp_tools(self, run_context)

        async def ask() -> list[Any]:
            # Runs share the agent, and each has servers of its own.
            with_servers = copy.copy(self)
            with_servers.mcp_servers = await SERVERS.get().of(self.mcp_servers)
            return await get_mcp_tools(with_servers, run_context)

        return await listed(run, scope, self.name, ask)

    get_system_prompt = Agent.get_system_prompt

    async def system_prompt(self: Any, run_context: Any) -> Any:
        foresee_changes()
        with theirs():
            return await get_system_prompt(self, run_context)

    Agent.get_system_prompt = system_prompt  # type: ignore[method-assign]
    AgentBase.get_all_tools = all_tools  # type: ignore[method-assign]
    AgentBase.get_mcp_tools = mcp_tools  # type: ignore[method-assign]


def _enter(agent: Any, given: Any, kwargs: dict[str, Any]) -> tuple[CarriedRun, Scope]:
    carried, around = CARRIED.get(), SCOPE.get()
    if carried is None or around is None:
        raise NoRunContextError("The SDK's Runner")

    def wrap(agent: Agent[Any]) -> None:
        try:
            wrap_agent(agent)
        except BatonError as error:  # which a tool around it would tell the model, and go on
            carried.home.soon(carried.stop, Stop(StopKind.FAILED, error))
            raise

    wrap(agent)
    kwargs["hooks"] = ComposedHooks(kwargs.get("hooks"), wrap)
    kwargs["run_config"] = carried.run_config(kwargs.get("run_config"))
    restored = carried.restored
    if restored is not None and given is not restored.state:
        restored = None
    begun_with = restored.input if restored else _begun_with(given)
    scope = around.invocation(agent.name, short_digest(begun_with))
    if kwargs.get("session") is not None:
        kwargs["session"] = carried.sessions.of(kwargs["session"], scope)
    scope.context = _watched(carried, scope, kwargs.get("context"))
    if restored is not None:
        scope.position = restored.position
        make_up(carried, scope, restored.before)
    return carried, scope


def _begun_with(given: Any) -> Any:
    """What an invocation is known by; one that goes on from a RunState, by what that began with."""
    return given._original_input if isinstance(given, RunState) else given


def _watched(carried: CarriedRun, scope: Scope, context: Any) -> ContextWatch | None:
    """The watch over a context object; agents as tools share the object of the one around them."""
    context = context.context if isinstance(context, RunContextWrapper) else context
    if context is None:
        return None
    for known in carried.contexts.values():
        if known.value is context:
            return known
    carried.contexts[scope.name] = watch = ContextWatch(scope.name, context)
    return watch
