"""A run that resumes another one does the rest, and says and counts only what is its own."""

from collections import Counter
from typing import Any

import pytest
from agents import Agent, function_tool

from runner.earlier import Earlier, recorded_messages
from shared.protocol.record import ClaimedRun, Continued, StepRecord
from tests.runner.doubles import carried
from tests.runner.replay.rig import CrashedError, World, attempt, call, outputs, text

pytestmark = pytest.mark.asyncio


def program(_world: World) -> Agent[Any]:
    @function_tool
    async def look(word: str) -> str:
        return f"seen {word}"

    helper = Agent(name="Helper", instructions="helper")
    ask = helper.as_tool("ask", "Ask the helper.")
    return Agent(name="A", instructions="outer", tools=[look, ask])


def answers(system: str, items: Any) -> Any:
    if system == "helper":
        return [text("helped")]
    match len(outputs(items)):
        case 0:
            return [text("first"), call("look", "c0", word="a"), call("look", "c1", word="b")]
        case 2:
            return [call("ask", "c2", input="help")]
        case _:
            return [text("done")]


def said(messages: list[dict[str, Any]]) -> Counter[str]:
    return Counter(str({k: v for k, v in one.items() if k != "id"}) for one in messages)


def tokens(usage: dict[str, dict[str, int]]) -> int:
    return sum(sum(counts.values()) for counts in usage.values())


async def test_whatever_was_done_before_is_neither_done_nor_said_nor_counted_again() -> None:
    whole = World()
    undisturbed = await attempt(program, whole, answers=answers)
    each = tokens(undisturbed.run.usage) / len(whole.asked)
    for steps in range(len(whole.journal)):
        world = World()
        with pytest.raises(CrashedError):
            await attempt(program, world, answers=answers, dies_at=steps)
        before = recorded_messages(world.journal)
        recorded = sum(step.kind == "model" for step in world.journal)
        resumed = await attempt(program, world, answers=answers, resumes=True)
        assert resumed.stop.result == undisturbed.stop.result, f"after {steps} steps"
        assert said(before) + said(resumed.run.messages()) == said(undisturbed.run.messages())
        assert resumed.asked == len(whole.asked) - recorded, f"after {steps} steps"
        assert tokens(resumed.run.usage) == each * resumed.asked, f"after {steps} steps"


async def test_what_was_half_written_is_withdrawn_and_the_rest_stays() -> None:
    shown = {"id": "m2", "role": "assistant", "content": "whole"}
    step = StepRecord(
        scope="run:A:1#0",
        kind="model",
        place="0",
        digest="d",
        record='{"shown": [{"id": "m2", "role": "assistant", "content": "whole"}], '
        '"response": {}, "usage": {}}',
    )
    path = [
        {"id": "m1", "role": "user", "content": "hello"},
        shown,
        {"id": "half", "role": "assistant", "content": "wh"},
        {"id": "m3", "role": "user", "content": "of a later run"},
    ]
    claimed: ClaimedRun = carried(None).claimed.model_copy(
        update={
            "messages": path[:1],
            "journal": [step],
            "continued": Continued(run="r0", steps=1, path=path, messages=["m1", "m2", "half"]),
        }
    )
    earlier = Earlier(claimed)
    assert earlier.withdrawn == ["half"]
    assert [one["id"] for one in earlier.conversation()] == ["m1", "m2", "m3"]
    assert earlier.own_messages() == []
