"""Tools that the client has: offered to the model, waited for, and replayed with what it told."""

from typing import Any

import pytest
from agents import Agent, FunctionTool, function_tool, handoff

from runner.carried import StopKind
from shared.protocol.codes import Code
from shared.protocol.record import Decision, InterruptReason
from tests.runner.replay.rig import (
    CrashedError,
    Outcome,
    World,
    attempt,
    call,
    outputs,
    text,
)

pytestmark = pytest.mark.asyncio

CLICK: dict[str, Any] = {"name": "click", "parameters": {"type": "object", "properties": {}}}


def world_with(*tools: dict[str, Any]) -> World:
    return World(input={"tools": list(tools)})


def desk(world: World) -> Agent[Any]:
    @function_tool
    async def look(what: str) -> str:
        world.do(f"looked at {what}")
        return f"seen {what}"

    other = Agent(name="B", instructions="other")
    return Agent(name="A", instructions="outer", tools=[look], handoffs=[handoff(other)])


def clicks(system: str, items: Any) -> Any:
    """Both kinds of tools at once, then a hand-off, and the client's once more."""
    done = outputs(items)
    match len(done):
        case 0:
            return [call("look", "c1", what="x"), call("click", "c2", at="a")]
        case 2:
            return [call("transfer_to_b", "c3")]
        case 3:
            assert system == "other"
            return [call("click", "c4", at="b"), call("click", "c5", at="c")]
    return [text(" | ".join(done[one] for one in ("c2", "c4", "c5")))]


def told(outcome: Outcome, *, digest: str | None = None) -> list[Decision]:
    """What the client tells of the calls: what they were about."""
    return [
        Decision(
            scope=one.scope,
            call_id=one.call_id,
            digest=digest or one.digest,
            approved=True,
            message=f"clicked {one.arguments}",
        )
        for one in (question.record for question in outcome.stop.asked)
    ]


async def test_the_clients_results_are_replayed_wherever_the_carrier_dies() -> None:
    died = 0
    for steps in range(12):
        world, left = world_with(CLICK), True
        outcome = None
        while outcome is None or outcome.stop.kind is StopKind.INTERRUPTED:
            try:
                outcome = await attempt(
                    desk, world, answers=clicks, dies_at=steps if left else None
                )
            except CrashedError:
                died, left = died + 1, False
                continue
            for one in outcome.stop.asked:
                assert one.record.reason == InterruptReason.CLIENT_TOOL
                assert one.event["reason"] == "client_tool"
                assert "result" in one.event["responseSchema"]["properties"]
            world.decisions += told(outcome)
        assert outcome.stop.result == " | ".join(
            f'clicked {{"at":"{at}"}}' for at in ("a", "b", "c")
        )
        assert world.done == ["looked at x"] or steps <= 1
    assert died == 8  # four of the model's steps, four of tools: each was cut off once


async def test_a_result_counts_for_the_arguments_that_the_client_was_shown() -> None:
    world = world_with(CLICK)
    outcome = await attempt(desk, world, answers=clicks)
    world.decisions = told(outcome, digest="of other arguments")
    again = await attempt(desk, world, answers=clicks, resumes=True)
    assert again.stop.kind is StopKind.INTERRUPTED
    assert [one.record.call_id for one in again.stop.asked] == ["c2"]


async def test_arguments_that_are_no_json_wait_for_the_client_as_well() -> None:
    def garbled(_system: str, items: Any) -> Any:
        if done := outputs(items):
            return [text(done["c1"])]
        made = call("click", "c1")
        made.arguments = "{not"
        return [made]

    world = world_with(CLICK)
    outcome = await attempt(desk, world, answers=garbled)
    (asked,) = outcome.stop.asked
    assert asked.event["metadata"]["baton"]["arguments"] == "{not"
    world.decisions = told(outcome)
    ended = await attempt(desk, world, answers=garbled, resumes=True)
    assert ended.stop.result == "clicked {not"


async def test_an_agent_inside_a_tool_is_not_offered_them() -> None:
    inner = Agent[Any](name="Inner", instructions="inner")

    def program(_world: World) -> Agent[Any]:
        return Agent(name="A", instructions="outer", tools=[inner.as_tool("inside", "x")])

    def model(system: str, items: Any) -> Any:
        if system == "inner":
            return [call("click", "i1")] if not outputs(items) else [text("inner done")]
        return [call("inside", "c1", input="x")] if not outputs(items) else [text("done")]

    outcome = await attempt(program, world_with(CLICK), answers=model)
    assert (outcome.stop.result, outcome.stop.asked) == ("done", ())  # a tool that nobody has


@pytest.mark.parametrize("name", ["look", "transfer_to_b"])
async def test_one_that_is_called_like_the_agents_own_ends_the_run(name: str) -> None:
    outcome = await attempt(desk, world_with({"name": name}), answers=clicks)
    assert outcome.stop.error is not None
    assert outcome.stop.error.code is Code.BAD_INPUT
    assert name in outcome.stop.error.message


async def test_one_that_is_not_as_strict_as_it_says_ends_the_run() -> None:
    loose = {"type": "object", "properties": {}, "additionalProperties": True}
    world = world_with({"name": "click", "parameters": loose, "strict": True})
    outcome = await attempt(desk, world, answers=clicks)
    assert outcome.stop.error is not None
    assert outcome.stop.error.code is Code.BAD_INPUT


async def test_an_agents_own_tools_stay_as_they_are() -> None:
    """Runs share the agent: what one client has is offered in its own run alone."""
    agents: list[Agent[Any]] = []

    def program(world: World) -> Agent[Any]:
        agents.append(desk(world))
        return agents[-1]

    await attempt(program, world_with(CLICK), answers=clicks)
    assert [one.name for one in agents[0].tools if isinstance(one, FunctionTool)] == ["look"]
