"""Agents whose runs are recorded with a release: one for each kind of step that a journal holds.

They stay as they are: what was recorded with them has to be replayed by all later releases.
"""

from collections.abc import Callable
from typing import Any

from agents import Agent, GuardrailFunctionOutput, Runner, function_tool, input_guardrail
from pydantic import BaseModel

from tests.runner.replay.rig import Answers, World, call, outputs, text

Program = tuple[Callable[[World], Agent[Any]], Answers]


def tools() -> Program:
    """Tools one after another, and two at once."""

    def program(world: World) -> Agent[Any]:
        @function_tool
        def add(a: int, b: int) -> int:
            world.do(f"{a}+{b}")
            return a + b

        return Agent(name="A", instructions="adds", tools=[add])

    def answers(_: str, items: Any) -> Any:
        done = outputs(items)
        if "c3" in done:
            return [text(f"{done['c1']} {done['c2']} {done['c3']}")]
        if "c1" in done:
            return [call("add", "c2", a=3, b=4), call("add", "c3", a=5, b=6)]
        return [call("add", "c1", a=1, b=2)]

    return program, answers


def hand_off() -> Program:
    """An agent that hands over to another one, which uses a tool."""

    def program(world: World) -> Agent[Any]:
        @function_tool
        def look(at: str) -> str:
            world.do(at)
            return at.upper()

        other = Agent(name="B", instructions="other", tools=[look])
        return Agent(name="A", instructions="first", handoffs=[other])

    def answers(system: str, items: Any) -> Any:
        if system == "first":
            return [call("transfer_to_b", "h1")]
        done = outputs(items)
        return [text(done["c1"])] if "c1" in done else [call("look", "c1", at="sea")]

    return program, answers


def nested() -> Program:
    """An agent as a tool, and a run of its own inside another tool."""

    def program(world: World) -> Agent[Any]:
        helper = Agent(name="Helper", instructions="helper")

        @function_tool
        async def ask(what: str) -> str:
            world.do(what)
            return str((await Runner.run(helper, what)).final_output)

        as_tool = helper.as_tool("helper", "Helps.")
        return Agent(name="A", instructions="outer", tools=[ask, as_tool])

    def answers(system: str, items: Any) -> Any:
        if system == "helper":
            return [text(items[0]["content"].upper())]
        done = outputs(items)
        if "c2" in done:
            return [text(f"{done['c1']} {done['c2']}")]
        if "c1" in done:
            return [call("helper", "c2", input="two")]
        return [call("ask", "c1", what="one")]

    return program, answers


def typed() -> Program:
    """A guardrail, and results with types."""

    class Point(BaseModel):
        x: int
        y: int

    def program(world: World) -> Agent[Any]:
        @input_guardrail
        async def fine(*_: Any) -> GuardrailFunctionOutput:
            world.do("guarded")
            return GuardrailFunctionOutput(output_info={"fine": True}, tripwire_triggered=False)

        @function_tool
        def move(by: int) -> Point:
            world.do(f"moved {by}")
            return Point(x=by, y=-by)

        return Agent(
            name="A",
            instructions="typed",
            tools=[move],
            output_type=Point,
            input_guardrails=[fine],
        )

    def answers(_: str, items: Any) -> Any:
        return [text('{"x": 7, "y": 8}')] if outputs(items) else [call("move", "c1", by=7)]

    return program, answers


def fails() -> Program:
    """A tool that fails and says so to the model."""

    def program(world: World) -> Agent[Any]:
        @function_tool
        def pay() -> str:
            world.do("tried")
            raise ValueError("no money")

        return Agent(name="A", instructions="pays", tools=[pay])

    def answers(_: str, items: Any) -> Any:
        return [text("sorry")] if outputs(items) else [call("pay", "c1")]

    return program, answers


PROGRAMS: dict[str, Callable[[], Program]] = {
    made.__name__: made for made in (tools, hand_off, nested, typed, fails)
}
