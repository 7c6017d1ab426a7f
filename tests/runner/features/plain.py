"""The SDK alone: what an agent's file does where nothing of ours is in between."""

import asyncio
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, RunConfig, Runner, set_tracing_disabled
from agents.exceptions import AgentsException
from agents.models.multi_provider import MultiProvider
from agents.result import RunResultStreaming
from agents.testing import ScriptedModel

from baton import RunContext
from tests.runner.features.seen import Seen, asked_of
from tests.runner.features.stories import Story

#: Events that tell of a call the model has made.
MADE = ("tool_called", "handoff_requested")


async def plainly(story: Story, model: ScriptedModel, folder: Path) -> Seen:
    """Run the story's agent as its author would, from a script of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MultiProvider, "get_model", lambda *_: model)
        patch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
        set_tracing_disabled(disabled=True)
        try:
            return await _seen(story, model, _imported(folder, patch))
        finally:
            set_tracing_disabled(disabled=False)


def _imported(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the file defines, imported with its folder on the path, as a script's would be."""
    patch.syspath_prepend(folder)
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location("plain_agent", folder / "agent.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, "plain_agent", module)
    spec.loader.exec_module(module)
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(folder):
            patch.delitem(sys.modules, name)
    return vars(module)


async def _seen(story: Story, model: ScriptedModel, names: dict[str, Any]) -> Seen:
    context = RunContext("run", "thread", "user", story.agent, metadata=dict(story.metadata))
    items: list[Any] = [{"role": "user", "content": story.said}]
    final, last, error = None, None, None
    calls: list[tuple[str, str]] = []
    try:
        if helper := names.get("run"):
            final = await _called(helper, story.said)
        elif helper := names.get("chat"):
            final = await _called(helper, items)
        elif make := names.get("create_runner"):
            final = await _called(make().run_streamed, items)
        else:
            agent = names.get("agent") or names.get("front")
            agent = agent or await names["create_agent"](context)
            final, last = await _run(agent, items, context, story, calls)
    except AgentsException as failed:
        error = type(failed)
        last = failed.run_data.last_agent.name if failed.run_data else None
    return Seen(repr(final), calls, last, error, asked_of(model))


async def _run(
    agent: Agent[Any],
    items: list[Any],
    context: RunContext,
    story: Story,
    calls: list[tuple[str, str]],
) -> tuple[Any, str]:
    result = await _streamed(agent, items, calls, context=context)
    if story.verdicts:
        state = result.to_state()
        for item, verdict in zip(result.interruptions, story.verdicts, strict=True):
            if verdict is True:
                state.approve(item)
            else:
                said = verdict if isinstance(verdict, str) else None
                state.reject(item, rejection_message=said)
        result = await _streamed(agent, state, calls)
    assert not result.interruptions
    return result.final_output, result.last_agent.name


async def _streamed(
    agent: Agent[Any], given: Any, calls: list[tuple[str, str]], **more: Any
) -> RunResultStreaming:
    config = RunConfig(tool_not_found_behavior="return_error_to_model")
    result = Runner.run_streamed(agent, given, run_config=config, max_turns=4, **more)
    async for event in result.stream_events():
        if event.type == "run_item_stream_event" and event.name in MADE:
            made: Any = event.item.raw_item
            calls.append((made.name, made.arguments))
    return result


async def _called(function: Any, given: Any) -> Any:
    if inspect.iscoroutinefunction(function):
        made = await function(given)
    elif "run_streamed" in function.__code__.co_names:
        made = function(given)
    else:
        made = await asyncio.to_thread(_leaving_no_loop, function, given)
    if isinstance(made, RunResultStreaming):
        async for _ in made.stream_events():
            pass
        return made.final_output
    return made


def _leaving_no_loop(function: Any, given: Any) -> Any:
    """`Runner.run_sync` leaves its loop open for the thread's next call."""
    try:
        return function(given)
    finally:
        asyncio.get_event_loop_policy().get_event_loop().close()
        asyncio.set_event_loop(None)
