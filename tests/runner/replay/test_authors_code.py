"""Agents that code makes or runs: cut off at every step, whoever goes on comes to the same."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from agents import Agent, Runner, function_tool
from agents.exceptions import ModelBehaviorError
from pydantic import BaseModel

from baton import RunContext
from runner.carried import StopKind
from runner.drop_ins.exports import Export, Factory, Helper, RunnerFactory, helper_of
from shared.protocol.codes import Code
from tests.runner.replay.approving import until_it_ends, yes
from tests.runner.replay.rig import World, assert_replays, attempt, call, outputs, text

pytestmark = pytest.mark.asyncio


def answers(system: str, items: list[dict[str, Any]]) -> list[Any]:
    """Each agent uses its tool once, and then says what that gave."""
    given = outputs(items)
    if not given and system != "plain":
        return [call("look", f"c{len(items)}{system}")]
    return [text(f"{system}: {[*given.values(), items[0].get('content')][0]}")]


def worker(world: World, name: str = "one") -> Agent[Any]:
    @function_tool
    def look() -> str:
        """Look."""
        world.do(f"{name} looked")
        return "seen"

    return Agent(name=name, instructions=name, tools=[look])


def helper(function: Callable[..., Any]) -> Helper:
    return helper_of(function, "run")


async def test_a_factory_makes_an_agent_for_each_run() -> None:
    def program(world: World) -> Export:
        async def make(context: RunContext) -> Agent[Any]:
            assert context.run_id == "run_1"
            return worker(world)

        return Factory(make, takes_context=True)

    ended = await assert_replays(program, answers)
    assert ended.stop.result == "one: seen"


async def test_what_makes_no_agent_fails_in_words() -> None:
    def program(_: World) -> Export:
        return Factory(lambda: 3, takes_context=False)

    ended = await attempt(program, World(), answers=answers)
    assert ended.seen["error"] == (Code.AGENT_ERROR, "The agent's file made no Agent but a int.")


def twice(world: World) -> Export:
    async def run(said: str) -> str:
        first = await Runner.run(worker(world, "one"), said)
        second = Runner.run_streamed(worker(world, "two"), first.final_output)
        async for _ in second.stream_events():
            pass
        return f"{first.final_output}, {second.final_output}"

    return helper(run)


async def test_a_helper_runs_agents_one_after_the_other() -> None:
    ended = await assert_replays(twice, answers)
    assert ended.stop.result == "one: seen, two: seen"
    said = [
        one["content"]
        for one in ended.run.messages()
        if one["role"] == "assistant" and one.get("content")
    ]
    # The scripted model sends no deltas, so that nobody has seen its texts.
    assert said == ["one: seen, two: seen"]


async def test_a_helper_that_blocks_has_a_thread() -> None:
    def program(world: World) -> Export:
        def main(said: str, context: RunContext) -> Any:
            assert (said, context.thread_id) == ("go", "thr_1")
            return Runner.run_sync(worker(world), said)

        return helper(main)

    ended = await assert_replays(program, answers)
    assert ended.stop.result == "one: seen"
    assert [one["role"] for one in ended.run.messages()] == ["assistant", "tool", "assistant"]


def begins_a_stream(world: World) -> Export:
    def run(items: list[Any]) -> Any:
        return Runner.run_streamed(worker(world), items)

    return helper(run)


def yields(world: World) -> Export:
    async def run(said: str) -> AsyncIterator[str]:
        result = await Runner.run(worker(world), said)
        for word in ("it ", "is ", result.final_output):
            yield word

    return helper(run)


class Answer(BaseModel):
    """A typed answer."""

    said: str


def types(world: World) -> Export:
    async def run(said: str) -> Answer:
        return Answer(said=(await Runner.run(worker(world), said)).final_output)

    return helper(run)


def makes_a_runner(world: World) -> Export:
    class Mine:
        async def run(self, said: str) -> Any:
            return await Runner.run(worker(world), said)

    return RunnerFactory(Mine)


def gathers(world: World) -> Export:
    async def run(said: str) -> str:
        both = await asyncio.gather(
            *(Runner.run(worker(world, name), said) for name in ("one", "two"))
        )
        return " and ".join(one.final_output for one in both)

    return helper(run)


RETURNS: list[tuple[Callable[[World], Export], Any]] = [
    (begins_a_stream, "one: seen"),
    (yields, "it is one: seen"),
    (types, Answer(said="one: seen")),
    (makes_a_runner, "one: seen"),
]


@pytest.mark.parametrize(("program", "result"), RETURNS)
async def test_what_stands_for_an_answer_is_it(
    program: Callable[[World], Export], result: Any
) -> None:
    ended = await assert_replays(program, answers)
    assert ended.stop.result == result


async def test_agents_that_a_helper_gathers_replay_whatever_comes_first() -> None:
    ended = await assert_replays(gathers, answers, racing=True)
    assert ended.stop.result == "one: seen and two: seen"


async def test_an_error_that_a_helper_caught_is_caught_again() -> None:
    def once(system: str, items: list[dict[str, Any]]) -> list[Any]:
        if system == "one":
            raise ModelBehaviorError("not today")
        return answers(system, items)

    def program(world: World) -> Export:
        async def run(said: str) -> str:
            try:
                await Runner.run(worker(world, "one"), said)
            except ModelBehaviorError as error:
                result = await Runner.run(worker(world, "two"), f"{said} {error}")
                return str(result.final_output)
            return "it worked"

        return helper(run)

    ended = await assert_replays(program, once)
    assert (ended.stop.kind, ended.stop.result) == (StopKind.FINISHED, "two: seen")


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), ValueError("no")])
async def test_a_helper_that_fails_ends_its_run_alone(error: BaseException) -> None:
    def program(_: World) -> Export:
        async def run(_said: str) -> str:
            raise error

        return helper(run)

    ended = await attempt(program, World(), answers=answers)
    assert ended.stop.kind is StopKind.FAILED
    assert ended.stop.error is not None
    assert ended.stop.error.code is Code.AGENT_ERROR


@pytest.mark.parametrize("returns", ["the result", "its output", "a stream's"])
async def test_a_helper_whose_agent_asks_goes_on_with_the_answer(returns: str) -> None:
    def program(world: World) -> Export:
        asking = worker(world)
        asking.tools[0].needs_approval = True  # type: ignore[union-attr]

        async def run(said: str) -> Any:
            if returns == "a stream's":
                return Runner.run_streamed(asking, said)
            result = await Runner.run(asking, said)
            return result if returns == "the result" else result.final_output

        return helper(run)

    world = World()
    asked = await attempt(program, world, answers=answers)
    assert (asked.stop.kind, world.done) == (StopKind.INTERRUPTED, [])
    (question,) = asked.stop.asked
    assert (question.record.agent, question.record.tool) == ("one", "look")
    ended = await until_it_ends(program, world, answers, yes)
    assert (ended.stop.result, world.done) == ("one: seen", ["one looked"])


async def test_a_helper_that_decides_by_itself_asks_nobody() -> None:
    def program(world: World) -> Export:
        asking = worker(world)
        asking.tools[0].needs_approval = True  # type: ignore[union-attr]

        async def run(said: str) -> Any:
            result = await Runner.run(asking, said)
            state = result.to_state()
            for one in result.interruptions:
                state.approve(one)
            return await Runner.run(asking, state)

        return helper(run)

    world = World()
    ended = await attempt(program, world, answers=answers)
    assert (ended.stop.result, world.done) == ("one: seen", ["one looked"])
