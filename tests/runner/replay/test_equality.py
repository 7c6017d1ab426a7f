"""Whatever the SDK can do, a run that was cut off after any step ends as if it never had been."""

import asyncio
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
from agents import (
    Agent,
    AgentHooks,
    RunContextWrapper,
    Runner,
    function_tool,
    handoff,
)
from agents.extensions import handoff_filters
from pydantic import BaseModel

from tests.runner.replay.rig import (
    StopKind,
    World,
    assert_replays,
    attempt,
    call,
    outputs,
    text,
)

pytestmark = pytest.mark.asyncio


async def test_tools_one_after_another() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool
        def add(a: int, b: int) -> int:
            world.do(f"add {a} {b}")
            return a + b

        return Agent(name="A", tools=[add])

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        if len(done) == 3:
            return [text(f"= {done['c3']}")]
        return [call("add", f"c{len(done) + 1}", a=len(done), b=10)]

    outcome = await assert_replays(program, answers)
    assert (outcome.stop.kind, outcome.stop.result) == (StopKind.FINISHED, "= 12")


async def test_parallel_tools_that_end_in_another_order() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool
        async def wait(turns: int) -> str:
            for _ in range(turns):
                await asyncio.sleep(0)
            return f"waited {turns}"

        return Agent(name="A", tools=[wait])

    def answers(_system: str, items: Any) -> Any:
        if done := outputs(items):
            return [text(" ".join(done.values()))]
        return [call("wait", f"c{n}", turns=50 - 10 * n) for n in range(4)]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "waited 50 waited 40 waited 30 waited 20"


async def test_an_agent_as_tool_whose_tools_run_in_parallel() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool
        def look(at: str) -> str:
            return f"saw {at}"

        inner = Agent(name="Inner", instructions="inner", tools=[look])
        return Agent(name="A", instructions="outer", tools=[inner.as_tool("ask_inner", "Asks.")])

    def answers(system: str, items: Any) -> Any:
        done = outputs(items)
        if system == "outer":
            if done:
                return [text(" | ".join(done.values()))]
            return [call("ask_inner", f"o{n}", input=f"part {n}") for n in (1, 2)]
        what = items[0]["content"]
        if done:
            return [text(f"{what}: {sorted(done.values())}")]
        number = what[-1]
        return [call("look", f"i{number}{n}", at=f"{number}{n}") for n in (1, 2)]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == ("part 1: ['saw 11', 'saw 12'] | part 2: ['saw 21', 'saw 22']")


async def test_a_helper_inside_a_tool_runs_agents_of_its_own() -> None:
    """Its own runs are not looked at again once the tool's result is recorded."""

    def program(world: World) -> Agent[Any]:
        helper = Agent(name="Helper", instructions="helper")

        @function_tool
        async def research(topic: str) -> str:
            first, second = await asyncio.gather(
                Runner.run(helper, f"{topic} one"), Runner.run(helper, f"{topic} two")
            )
            third = await Runner.run(helper, f"{first.final_output} {second.final_output}")
            return str(third.final_output)

        return Agent(name="A", instructions="outer", tools=[research])

    def answers(system: str, items: Any) -> Any:
        if system == "helper":
            return [text(f"<{items[0]['content']}>")]
        if done := outputs(items):
            return [text(f"{len(done)} {done['c1']}")]
        return [call("research", "c1", topic="x")]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "1 <<x one> <x two>>"


async def test_hand_offs_to_and_fro_with_an_input_filter() -> None:
    def program(world: World) -> Agent[Any]:
        async def handed(_context: Any) -> None:
            world.do("handed over")

        first = Agent(name="First", instructions="first")
        second = Agent(name="Second", instructions="second", handoffs=[first])
        first.handoffs = [
            handoff(second, on_handoff=handed, input_filter=handoff_filters.remove_all_tools)
        ]
        return first

    rounds = {"first": 0}

    def answers(system: str, items: Any) -> Any:
        said = [one for one in items if one.get("role") == "assistant"]
        if system == "second":
            return [text("second speaks"), call("transfer_to_first", f"back{len(said)}")]
        if len(said) >= 2:
            return [text("enough")]
        return [text("first speaks"), call("transfer_to_second", f"go{len(said)}")]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "enough"
    assert rounds == {"first": 0}


async def test_what_tools_keep_in_the_context_is_there_again() -> None:
    @dataclass
    class Kept:
        unlocked: bool = False
        visits: list[str] = field(default_factory=list)
        since: date | None = None

    def program(world: World) -> Agent[Any]:
        @function_tool
        def unlock(context: RunContextWrapper[Kept]) -> str:
            context.context.unlocked = True
            context.context.visits.append("unlock")
            context.context.since = date(2026, 1, 2)
            return "unlocked"

        def may(context: RunContextWrapper[Kept], _agent: Any) -> bool:
            return context.context.unlocked

        @function_tool(is_enabled=may)
        def open_it(context: RunContextWrapper[Kept]) -> str:
            context.context.visits.append("open")
            return f"{context.context.visits} since {context.context.since!r}"

        return Agent(name="A", tools=[unlock, open_it])

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        if "c2" in done:
            return [text(done["c2"])]
        return [call("open_it", "c2")] if done else [call("unlock", "c1")]

    outcome = await assert_replays(program, answers, context=Kept)
    assert outcome.stop.result == "['unlock', 'open'] since datetime.date(2026, 1, 2)"


async def test_what_hooks_keep_in_the_context_is_there_again_though_they_do_not_fire() -> None:
    def program(world: World) -> Agent[Any]:
        class Counting(AgentHooks[Any]):
            async def on_tool_end(self, context: Any, *_: Any) -> None:
                context.context["tools"] = context.context.get("tools", 0) + 1

        @function_tool
        def look(context: RunContextWrapper[Any]) -> str:
            return f"after {context.context.get('tools', 0)}"

        return Agent(name="A", tools=[look], hooks=Counting())

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        return (
            [text(" ".join(done.values()))] if len(done) == 3 else [call("look", f"c{len(done)}")]
        )

    outcome = await assert_replays(program, answers, context=dict)
    assert outcome.stop.result == "after 0 after 1 after 2"


async def test_typed_results_of_tools_and_agents() -> None:
    class Point(BaseModel):
        x: int
        y: int

    def program(world: World) -> Agent[Any]:
        @function_tool
        def where() -> Point:
            return Point(x=1, y=2)

        inner = Agent(name="Inner", instructions="inner", output_type=Point, tools=[where])
        return Agent(
            name="A",
            instructions="outer",
            tools=[inner.as_tool("ask", "Asks.")],
            output_type=Point,
        )

    def answers(system: str, items: Any) -> Any:
        done = outputs(items)
        if system == "inner":
            return [text('{"x": 3, "y": 4}')] if done else [call("where", "i1")]
        return [text('{"x": 5, "y": 6}')] if done else [call("ask", "o1", input="where?")]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == Point(x=5, y=6) or outcome.stop.result.model_dump() == {
        "x": 5,
        "y": 6,
    }


async def test_gathered_runs_of_one_agent_find_their_own_records() -> None:
    """Each waits before it begins, so the order in which they begin says nothing."""

    def program(world: World) -> Agent[Any]:
        helper = Agent(name="Helper", instructions="helper")

        @function_tool
        async def many() -> str:
            async def one(number: int) -> str:
                for _ in range((number * 7) % 5):
                    await asyncio.sleep(0)
                return str((await Runner.run(helper, f"part {number}")).final_output)

            found = await asyncio.gather(*(one(number) for number in range(4)))
            return " ".join(found)

        return Agent(name="A", instructions="outer", tools=[many])

    def answers(system: str, items: Any) -> Any:
        if system == "helper":
            return [text(items[0]["content"].upper())]
        done = outputs(items)
        return [text(done["c1"])] if done else [call("many", "c1")]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "PART 0 PART 1 PART 2 PART 3"


async def test_the_order_in_which_gathered_runs_end_is_the_same_again() -> None:
    """Whoever ended first is named first to the next agent: the order decides what it is asked."""

    def program(world: World) -> Agent[Any]:
        helper = Agent(name="Helper", instructions="helper")

        @function_tool
        async def race() -> str:
            order: list[str] = []

            async def one(number: int) -> None:
                for _ in range((number * 13) % 7):
                    await asyncio.sleep(0)
                order.append((await Runner.run(helper, f"{number}")).final_output)

            await asyncio.gather(*(one(number) for number in range(4)))
            return str((await Runner.run(helper, " ".join(order))).final_output)

        return Agent(name="A", instructions="outer", tools=[race])

    def answers(system: str, items: Any) -> Any:
        if system == "helper":
            return [text(f"<{items[0]['content']}>")]
        done = outputs(items)
        return [text(done["c1"])] if done else [call("race", "c1")]

    whole = World()
    first = await attempt(program, whole, answers=answers)
    # From the fifth step on all four have ended: what comes next has to be asked alike.
    for steps in range(5, len(whole.journal)):
        world = World(journal=whole.journal[:steps])
        again = await attempt(program, world, answers=answers)
        assert again.stop.result == first.stop.result
