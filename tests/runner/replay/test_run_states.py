"""A tool that runs an agent of its own and answers that one's approvals itself."""

from typing import Any

import pytest
from agents import Agent, Runner, function_tool

from tests.runner.replay.rig import World, assert_replays, call, outputs, text

pytestmark = pytest.mark.asyncio


def program(world: World) -> Agent[Any]:
    @function_tool(needs_approval=True)
    async def wipe(what: str) -> str:
        world.do(f"wiped {what}")
        return f"wiped {what}"

    careful = Agent(name="Careful", instructions="careful", tools=[wipe])

    @function_tool
    async def tidy(what: str) -> str:
        result = await Runner.run(careful, what)
        while result.interruptions:
            state = result.to_state()
            for one in result.interruptions:
                if "desk" in str(one.arguments):
                    state.approve(one)
                else:
                    state.reject(one)
            result = await Runner.run(careful, state)
        return str(result.final_output)

    return Agent(name="A", instructions="outer", tools=[tidy])


def answers(system: str, items: Any) -> Any:
    done = outputs(items)
    if system == "careful":
        said = str(items[0]["content"])
        return [text(f"done: {done}")] if done else [call("wipe", f"w_{said}", what=said)]
    match len(done):
        case 0:
            return [call("tidy", "c0", what="desk"), call("tidy", "c1", what="disk")]
        case 2:
            return [call("tidy", "c2", what="desk again")]
        case _:
            return [text(" | ".join(done.values()))]


async def test_it_replays_from_every_step() -> None:
    outcome = await assert_replays(program, answers, racing=True)
    assert "wiped desk again" in outcome.stop.result
    assert "wiped disk" not in outcome.stop.result
