"""A guardrail that was running as a process died is asked by the next one: none is passed over."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    OutputGuardrail,
    RunConfig,
    Runner,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrail,
    ToolOutputGuardrail,
    function_tool,
)

from shared.protocol.codes import Code
from tests.runner.replay.rig import (
    Outcome,
    World,
    assert_ends_alike,
    assert_replays,
    attempt,
    call,
    outputs,
    text,
)
from tests.until import until

pytestmark = pytest.mark.asyncio

Guard = Callable[..., Any]


def undecided_at_first(world: World, verdict: Any) -> Guard:
    """A guardrail that is still thinking when its process dies, and says `verdict` in the next."""

    async def guard(*_: Any) -> Any:
        world.do("asked")
        if world.done.count("asked") == 1:
            await asyncio.Event().wait()
        return verdict

    return guard


TRIPPED = GuardrailFunctionOutput(output_info="bad", tripwire_triggered=True)


async def cut_off(program: Any, answers: Any, *, after: int) -> tuple[World, Outcome]:
    """A run that died with its guardrail thinking, after so many steps, and was taken over."""
    world = World()
    running = asyncio.create_task(attempt(program, world, answers=answers, dies_at=after))

    async def thinks() -> bool:
        return running.done() or (world.done == ["asked"] and len(world.journal) == after)

    await until(thinks)
    running.cancel()
    await asyncio.wait({running})
    assert (len(world.journal), world.done) == (after, ["asked"])
    return world, await attempt(program, world, answers=answers)


def assert_tripped(outcome: Outcome) -> None:
    assert outcome.stop.error is not None
    assert (outcome.stop.error.code, outcome.stop.result) == (Code.GUARDRAIL, None)


def calls_then_ends(_system: str, items: Any) -> Any:
    done = outputs(items)
    return [text("end")] if len(done) == 3 else [call("look", f"c{len(done)}")]


@pytest.mark.parametrize("steps", [1, 2, 5])
async def test_an_input_guardrail_beside_the_first_turns(steps: int) -> None:
    def program(world: World) -> Agent[Any]:
        guard = InputGuardrail(undecided_at_first(world, TRIPPED), run_in_parallel=True)

        @function_tool
        def look() -> str:
            return "saw"

        return Agent(name="A", tools=[look], input_guardrails=[guard])

    _, outcome = await cut_off(program, calls_then_ends, after=steps)
    assert_tripped(outcome)


async def test_an_input_guardrail_before_the_first_turn() -> None:
    def program(world: World) -> Agent[Any]:
        guard = InputGuardrail(undecided_at_first(world, TRIPPED), run_in_parallel=False)
        return Agent(name="A", input_guardrails=[guard])

    world, outcome = await cut_off(program, calls_then_ends, after=0)
    assert_tripped(outcome)
    assert world.asked == []


async def test_an_input_guardrail_of_a_helper_s_config() -> None:
    def program(world: World) -> Agent[Any]:
        guard = InputGuardrail(undecided_at_first(world, TRIPPED), run_in_parallel=True)
        helper = Agent(name="Helper", instructions="helper")

        @function_tool(failure_error_function=None)
        async def ask() -> str:
            config = RunConfig(input_guardrails=[guard])
            return str((await Runner.run(helper, "help", run_config=config)).final_output)

        return Agent(name="A", tools=[ask])

    def answers(system: str, _items: Any) -> Any:
        return [text("helped")] if system == "helper" else [call("ask", "c1")]

    _, outcome = await cut_off(program, answers, after=2)
    assert_tripped(outcome)


async def test_an_output_guardrail() -> None:
    def program(world: World) -> Agent[Any]:
        guard = OutputGuardrail(undecided_at_first(world, TRIPPED))
        return Agent(name="A", output_guardrails=[guard])

    _, outcome = await cut_off(program, lambda *_: [text("bad words")], after=1)
    assert_tripped(outcome)


@pytest.mark.parametrize("where", ["input", "output"])
@pytest.mark.parametrize("behavior", ["raise", "reject"])
async def test_a_guardrail_of_a_tool(where: str, behavior: str) -> None:
    verdict = (
        ToolGuardrailFunctionOutput.raise_exception("bad")
        if behavior == "raise"
        else ToolGuardrailFunctionOutput.reject_content("not that", "bad")
    )

    def program(world: World) -> Agent[Any]:
        guard = undecided_at_first(world, verdict)

        def look() -> str:
            return "saw"

        tool = function_tool(
            look,
            tool_input_guardrails=[ToolInputGuardrail(guard)] if where == "input" else None,
            tool_output_guardrails=[ToolOutputGuardrail(guard)] if where == "output" else None,
        )
        return Agent(name="A", tools=[tool])

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        return [text(f"told: {done['c1']}")] if done else [call("look", "c1")]

    _, outcome = await cut_off(program, answers, after=1 if where == "input" else 2)
    if behavior == "raise":
        assert_tripped(outcome)
    else:
        assert outcome.stop.result == "told: not that"


@pytest.mark.parametrize("parallel", [True, False])
async def test_what_several_guardrails_find_is_kept(parallel: bool) -> None:
    def program(world: World) -> Agent[Any]:
        judge = Agent(name="Judge", instructions="judge")

        def guard(name: str) -> InputGuardrail[Any]:
            async def ask(*_: Any) -> GuardrailFunctionOutput:
                said = await Runner.run(judge, name)
                return GuardrailFunctionOutput({"said": said.final_output}, False)

            return InputGuardrail(ask, name="same", run_in_parallel=parallel)

        helper = Agent(
            name="Helper", instructions="helper", input_guardrails=[guard("a"), guard("b")]
        )

        @function_tool
        async def ask() -> str:
            result = await Runner.run(helper, "help")
            found = [one.output.output_info["said"] for one in result.input_guardrail_results]
            return f"{result.final_output} {sorted(found)}"

        return Agent(name="A", instructions="outer", tools=[ask])

    def answers(system: str, items: Any) -> Any:
        if system != "outer":
            return [text(f"<{system} {items[0]['content']}>")]
        done = outputs(items)
        return [text(done["c1"])] if done else [call("ask", "c1")]

    outcome = await assert_ends_alike(program, answers)
    assert outcome.stop.result == "<helper help> ['<judge a>', '<judge b>']"


async def test_guardrails_of_tools_in_all_their_ways() -> None:
    def program(world: World) -> Agent[Any]:
        def before(data: Any) -> ToolGuardrailFunctionOutput:
            if data.context.tool_call_id == "c1":
                return ToolGuardrailFunctionOutput.reject_content("not asked")
            return ToolGuardrailFunctionOutput.allow({"seen": data.context.tool_name})

        def after(data: Any) -> ToolGuardrailFunctionOutput:
            if "secret" in data.output:
                return ToolGuardrailFunctionOutput.reject_content("not told")
            return ToolGuardrailFunctionOutput.allow()

        @function_tool(
            tool_input_guardrails=[ToolInputGuardrail(before)],
            tool_output_guardrails=[ToolOutputGuardrail(after)],
        )
        def look(at: str) -> str:
            world.do("looked")
            return f"saw {at}"

        return Agent(name="A", tools=[look])

    def answers(_system: str, items: Any) -> Any:
        if done := outputs(items):
            return [text(" | ".join(done.values()))]
        return [call("look", f"c{n}", at=at) for n, at in enumerate(["it", "that", "secret"])]

    outcome = await assert_replays(program, answers, racing=True)
    assert outcome.stop.result == "saw it | not asked | not told"
