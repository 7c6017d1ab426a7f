"""Replay equality where something fails, is refused, or ends the run before its time."""

import asyncio
from typing import Any

import httpx2
import openai
import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    Runner,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrailData,
    function_tool,
    input_guardrail,
    output_guardrail,
    tool_input_guardrail,
)

from shared.protocol.codes import Code
from tests.runner.replay.rig import (
    World,
    assert_ends_alike,
    assert_replays,
    call,
    outputs,
    text,
)

pytestmark = pytest.mark.asyncio


async def test_a_model_error_that_a_helper_caught_is_caught_again() -> None:
    def program(world: World) -> Agent[Any]:
        helper = Agent(name="Helper", instructions="helper")

        @function_tool
        async def careful() -> str:
            tries = []
            for number in range(3):
                try:
                    tries.append((await Runner.run(helper, f"try {number}")).final_output)
                except openai.RateLimitError as error:
                    tries.append(f"{error.status_code} {error.code}")
            return " ".join(tries)

        return Agent(name="A", instructions="outer", tools=[careful])

    def answers(system: str, items: Any) -> Any:
        if system != "helper":
            done = outputs(items)
            return [text(done["c1"])] if done else [call("careful", "c1")]
        if items[0]["content"] == "try 1":
            request = httpx2.Request("POST", "http://x")
            raise openai.RateLimitError(
                "slow down", response=httpx2.Response(429, request=request), body={"code": "slow"}
            )
        return [text("fine")]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "fine 429 slow fine"


async def test_guardrails_of_agents_and_tools_are_asked_once() -> None:
    def program(world: World) -> Agent[Any]:
        judge = Agent(name="Judge", instructions="judge")

        @input_guardrail
        async def polite(_context: Any, _agent: Any, given: Any) -> GuardrailFunctionOutput:
            verdict = await Runner.run(judge, "polite?")
            return GuardrailFunctionOutput(verdict.final_output, tripwire_triggered=False)

        @output_guardrail
        async def true(_context: Any, _agent: Any, output: Any) -> GuardrailFunctionOutput:
            verdict = await Runner.run(judge, f"true? {output}")
            return GuardrailFunctionOutput(verdict.final_output, tripwire_triggered=False)

        @tool_input_guardrail
        async def sane(data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
            verdict = await Runner.run(judge, f"sane? {data.context.tool_call_id}")
            if data.context.tool_call_id == "c2":
                return ToolGuardrailFunctionOutput.reject_content("not that one")
            return ToolGuardrailFunctionOutput.allow(verdict.final_output)

        @function_tool(tool_input_guardrails=[sane])
        def look(at: int) -> str:
            return f"saw {at}"

        return Agent(
            name="A",
            instructions="outer",
            tools=[look],
            input_guardrails=[polite],
            output_guardrails=[true],
        )

    def answers(system: str, items: Any) -> Any:
        if system == "judge":
            return [text("yes")]
        done = outputs(items)
        if done:
            return [text(" ".join(done.values()))]
        return [call("look", "c1", at=1), call("look", "c2", at=2)]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "saw 1 not that one"


async def test_a_guardrail_that_trips_ends_the_run_however_often_it_is_taken_over() -> None:
    def program(world: World) -> Agent[Any]:
        judge = Agent(name="Judge", instructions="judge")

        @input_guardrail
        async def polite(_context: Any, _agent: Any, given: Any) -> GuardrailFunctionOutput:
            for _ in range(20):
                await asyncio.sleep(0)
            verdict = await Runner.run(judge, "polite?")
            return GuardrailFunctionOutput(verdict.final_output, tripwire_triggered=True)

        @function_tool
        def look() -> str:
            return "saw"

        return Agent(name="A", instructions="outer", tools=[look], input_guardrails=[polite])

    def answers(system: str, items: Any) -> Any:
        if system == "judge":
            return [text("no")]
        return [text("done")] if outputs(items) else [call("look", "c1")]

    outcome = await assert_ends_alike(program, answers)
    assert outcome.stop.error is not None
    assert outcome.stop.error.code is Code.GUARDRAIL


async def test_a_tool_that_ends_the_run() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool
        def answer() -> dict[str, int]:
            return {"x": 1}

        return Agent(name="A", tools=[answer], tool_use_behavior="stop_on_first_tool")

    outcome = await assert_replays(program, lambda _system, _items: [call("answer", "c1")])
    assert outcome.stop.result in ({"x": 1}, '{"x":1}', "{'x': 1}")


async def test_too_many_turns() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool
        def again() -> str:
            return "again"

        return Agent(name="A", tools=[again])

    def answers(_system: str, items: Any) -> Any:
        return [call("again", f"c{len(outputs(items))}")]

    outcome = await assert_replays(program, answers, max_turns=3)
    assert outcome.stop.error is not None
    assert outcome.stop.error.code is Code.MAX_TURNS
