"""Agent code that raises what no code may: its run ends with an error, and nothing else ends."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from agents import (
    Agent,
    AgentHooks,
    GuardrailFunctionOutput,
    Runner,
    function_tool,
    input_guardrail,
    output_guardrail,
)

from shared.protocol.codes import Code
from tests.runner.replay.rig import StopKind, World, attempt, call, outputs, text

pytestmark = pytest.mark.asyncio


class OddError(BaseException):
    """An exception that `except Exception` does not catch."""


RAISED: list[Callable[[], BaseException]] = [
    partial(SystemExit, 3),
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    partial(OddError, "odd \ud800 \0"),
]


def names(make: Callable[[], BaseException]) -> str:
    return type(make()).__name__


def answers(_system: str, items: Any) -> Any:
    return [text("done")] if outputs(items) else [call("act", "c1")]


async def assert_fails(make_agent: Callable[[], Agent[Any]]) -> None:
    outcome = await attempt(lambda _world: make_agent(), World(), answers=answers)
    assert outcome.stop.kind is StopKind.FAILED
    assert outcome.stop.error is not None
    assert outcome.stop.error.code is Code.AGENT_ERROR
    assert "\0" not in outcome.stop.error.message


@pytest.mark.parametrize("make", RAISED, ids=names)
@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain function"])
async def test_a_tool_raises_it(make: Callable[[], BaseException], plain: bool) -> None:
    def agent() -> Agent[Any]:
        async def act() -> str:
            raise make()

        def act_plainly() -> str:
            raise make()

        tool = function_tool(act_plainly if plain else act, name_override="act")
        return Agent(name="A", tools=[tool])

    await assert_fails(agent)


async def test_a_plain_function_ends_with_stop_iteration() -> None:
    """No future takes it: the call would wait for ever."""

    def agent() -> Agent[Any]:
        @function_tool
        def act() -> str:
            return str(next(iter([])))

        return Agent(name="A", tools=[act])

    outcome = await attempt(lambda _world: agent(), World(), answers=answers)
    assert outcome.stop.result == "done"
    assert outcome.run.failed_calls == {"c1"}


@pytest.mark.parametrize("make", RAISED, ids=names)
@pytest.mark.parametrize(
    "where", ["instructions", "hook", "input guardrail", "output guardrail", "is_enabled"]
)
async def test_other_code_of_the_author_raises_it(
    make: Callable[[], BaseException], where: str
) -> None:
    def raising(*_: Any) -> Any:
        raise make()

    class Hooks(AgentHooks[Any]):
        async def on_llm_end(self, *_: Any) -> None:
            raise make()

    @input_guardrail
    async def on_input(*_: Any) -> GuardrailFunctionOutput:
        raise make()

    @output_guardrail
    async def on_output(*_: Any) -> GuardrailFunctionOutput:
        raise make()

    def agent() -> Agent[Any]:
        @function_tool(is_enabled=raising if where == "is_enabled" else True)
        def act() -> str:
            return "acted"

        return Agent(
            name="A",
            instructions=raising if where == "instructions" else "",
            tools=[act],
            hooks=Hooks() if where == "hook" else None,
            input_guardrails=[on_input] if where == "input guardrail" else [],
            output_guardrails=[on_output] if where == "output guardrail" else [],
        )

    await assert_fails(agent)


async def test_a_tool_cancels_the_task_of_its_run() -> None:
    def agent() -> Agent[Any]:
        @function_tool
        async def act() -> str:
            for task in asyncio.all_tasks():
                if task.get_name().startswith("agent "):
                    task.cancel()
            await asyncio.Event().wait()
            return "acted"

        return Agent(name="A", tools=[act])

    await assert_fails(agent)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_thread_that_wakes_after_its_run_has_ended_is_not_kept() -> None:
    asleep, woken, left = threading.Event(), threading.Event(), threading.Event()

    def agent(_world: World) -> Agent[Any]:
        helper = Agent(name="Helper")

        @function_tool
        def act() -> str:
            asleep.set()
            woken.wait(20)
            try:
                return str(Runner.run_sync(helper, "late").final_output)
            finally:
                left.set()

        return Agent(name="A", tools=[act])

    running = asyncio.create_task(attempt(agent, World(), answers=answers))
    assert await asyncio.to_thread(asleep.wait, 20)
    running.cancel()
    await asyncio.wait({running})
    woken.set()
    assert await asyncio.to_thread(left.wait, 10)
