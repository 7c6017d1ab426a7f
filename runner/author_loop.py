"""Runs in which the agent's own code calls the SDK's Runner: what it returns is the answer.

What its agents say is shown as they say it, like that of an agent that we run; an answer of the
code's own comes after that, as a step, so that it has one id however often it is replayed.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from agents import Agent
from agents.result import RunResult, RunResultStreaming

from runner.carried import CarriedRun, Stop, StopKind
from runner.drop_ins.context_class import require_context
from runner.drop_ins.exports import (
    ContextFactory,
    Factory,
    Helper,
    NoExportError,
    RunnerFactory,
    helper_of,
    runs,
)
from runner.journal import Key
from runner.models.digest import short_digest
from runner.theirs import theirs
from runner.wrap import reachable
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import new_id


async def made_by(factory: Factory, run: CarriedRun) -> Agent[Any]:
    """A fresh agent for a run.

    Raises:
        BatonError: `agent_error`, the factory gave something else.
    """
    given = (run.context,) if factory.takes_context else ()
    agent = await _called(factory.make, *given)
    if not isinstance(agent, Agent):
        kind = type(agent).__name__
        raise BatonError(Code.AGENT_ERROR, f"The agent's file made no Agent but a {kind}.")
    return agent


def require_own_context(agent: Agent[Any], factory: ContextFactory | None) -> None:
    """Refuse an agent that wants a context class of its own, where nothing makes one.

    Raises:
        BatonError: `agent_error`.
    """
    try:
        require_context(reachable(agent), factory)
    except NoExportError as error:
        raise BatonError(Code.AGENT_ERROR, str(error)) from None


async def context_made_by(factory: ContextFactory, run: CarriedRun) -> Any:
    """The agent's own context for a run, made anew whenever that is replayed.

    Raises:
        BatonError: `agent_error`, it made nothing.
    """
    given = (run.context,) if factory.takes_context else ()
    made = await _called(factory.make, *given)
    if made is None:
        raise BatonError(Code.AGENT_ERROR, f"`{factory.make.__name__}` made no context.")
    return made


async def answered_by(
    export: Helper | RunnerFactory, run: CarriedRun, items: list[dict[str, Any]]
) -> Stop:
    """Let the agent's code answer, and show what it says beyond what its agents have said."""
    run.root.authors = True
    helper = export if isinstance(export, Helper) else await _helper_of(export)
    given: Any = items if helper.takes_items else _said_last(items)
    context = (run.context,) if helper.takes_context else ()
    answer = await _final(await _called(helper.answer, given, *context), run)
    if isinstance(answer, str) and answer.strip() and answer.strip() != _shown_last(run):
        await _show(run, answer)
    return Stop(StopKind.FINISHED, result=answer)


async def _helper_of(export: RunnerFactory) -> Helper:
    made = await _called(export.make)
    if not runs(made):
        kind = type(made).__name__
        raise BatonError(Code.AGENT_ERROR, f"The agent's file made no runner but a {kind}.")
    name = "run_streamed" if hasattr(made, "run_streamed") else "run"
    return helper_of(getattr(made, name), name)


async def _called(function: Callable[..., Any], *given: Any) -> Any:
    """What a function of the author's gives; a plain one may block, and so gets a thread."""
    with theirs():
        if inspect.iscoroutinefunction(function) or _needs_the_loop(function):
            made = function(*given)
        else:
            made = await asyncio.to_thread(function, *given)
        return await made if inspect.isawaitable(made) else made


def _needs_the_loop(function: Callable[..., Any]) -> bool:
    """Whether a plain function begins a streamed run, which it can do beside a loop alone."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code is not None and "run_streamed" in code.co_names


async def _final(made: Any, run: CarriedRun) -> Any:
    """The answer itself, of whatever stands for it."""
    with theirs():
        if isinstance(made, RunResultStreaming):
            async for _ in made.stream_events():
                pass
        if isinstance(made, (RunResult, RunResultStreaming)):
            if made.interruptions:
                await run.parking.ask(run.root, made.interruptions)
            return made.final_output
        if hasattr(made, "__aiter__"):
            return "".join([one async for one in made if isinstance(one, str)])
        if inspect.isgenerator(made):
            return "".join(
                one for one in await asyncio.to_thread(list, made) if isinstance(one, str)
            )
    return made


def _said_last(items: list[dict[str, Any]]) -> str:
    """What the person said last, as text."""
    said = (one["content"] for one in reversed(items) if one.get("role") == "user")
    last = next(said, "")
    if isinstance(last, str):
        return last
    return "\n".join(part["text"] for part in last if part["type"] == "input_text")


def _shown_last(run: CarriedRun) -> str:
    """The newest text that an agent has said."""
    said = (one.get("content") for one in reversed(run.shown) if one.get("role") == "assistant")
    return next((text.strip() for text in said if isinstance(text, str) and text.strip()), "")


async def _show(run: CarriedRun, text: str) -> None:
    async def live() -> dict[str, Any]:
        message = {"id": new_id("msg"), "role": "assistant", "content": text}
        chunk = {"type": "TEXT_MESSAGE_CHUNK", "messageId": message["id"], "role": "assistant"}
        run.outbox.emit(chunk | {"delta": text})
        return {"shown": [message]}

    record = await run.step(run.root, Key(run.root.name, "answer", "0"), short_digest(text), live)
    run.shown += record["shown"]
