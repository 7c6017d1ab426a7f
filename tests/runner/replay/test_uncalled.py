"""Calls inside of agents as tools and helpers that no tool carries out have a result to be seen."""

import json
from typing import Any

import pytest
from agents import Agent, Runner, StopAtTools, function_tool

from tests.runner.replay.approving import decided
from tests.runner.replay.rig import (
    CrashedError,
    Outcome,
    Program,
    World,
    attempt,
    call,
    outputs,
    text,
)

pytestmark = pytest.mark.asyncio


def results(world: World, outcome: Outcome) -> list[tuple[str, str]]:
    """Of each result that was shown since the world began, the call and its content, in order."""
    rows = [row for commit in world.commits for row in commit.rows]
    rows += outcome.run.outbox.uncommitted(ending=True)
    events = [json.loads(row.data) for row in rows]
    shown = [one for one in events if one["type"] == "TOOL_CALL_RESULT"]
    for one in shown:
        assert ("subagentRunId" in one) is (one["toolCallId"] != "a")
        failed = one.get("metadata", {}).get("baton", {}).get("failed", False)
        assert failed is (one["toolCallId"] in UNCALLED)
    return [(one["toolCallId"], one["content"]) for one in shown]


UNCALLED = {"w", "x"}
REFUSED = ("w", "Leave the desk alone.")


def program_of(how: str) -> Program:
    def program(world: World) -> Agent[Any]:
        @function_tool(needs_approval=True)
        async def wipe(what: str) -> str:
            world.do(f"wiped {what}")
            return f"wiped {what}"

        @function_tool
        async def look(what: str) -> str:
            return f"seen {what}"

        stops: Any = StopAtTools(stop_at_tool_names=["wipe"]) if how == "stops" else "run_llm_again"
        inner = Agent(name="B", instructions="inner", tools=[wipe, look], tool_use_behavior=stops)

        @function_tool(name_override="ask")
        async def helps(input: str) -> str:  # noqa: A002 - as an agent as tool has it
            return str((await Runner.run(inner, input)).final_output)

        @function_tool(name_override="ask")
        def helps_in_a_thread(input: str) -> str:  # noqa: A002
            return str(Runner.run_sync(inner, input).final_output)

        as_tool = inner.as_tool("ask", "Asks.")
        tool = {"helper": helps, "thread": helps_in_a_thread}.get(how, as_tool)
        return Agent(name="A", instructions="outer", tools=[tool])

    return program


def asks(system: str, items: Any) -> Any:
    done = outputs(items)
    if system == "inner":
        calls = [call("wipe", "w", what="desk"), call("look", "l", what="x")]
        return [text(" ".join(map(str, done.values())))] if done else calls
    return [text(done["a"])] if done else [call("ask", "a", input="x")]


async def resumed(program: Program, world: World, **options: Any) -> Outcome:
    return await attempt(program, world, answers=asks, resumes=True, **options)


@pytest.mark.parametrize("how", ["as tool", "stops", "helper", "thread"])
async def test_a_refused_call_has_its_result_once_wherever_its_carrier_dies(how: str) -> None:
    program, world = program_of(how), World()
    asked = await attempt(program, world, answers=asks)
    assert results(world, asked) == [("l", "seen x")]
    world.decisions = decided(asked, lambda *_: REFUSED[1])
    for dies_at in range(len(world.journal), len(world.journal) + 3):
        left = world.copy()
        left.commits = []
        try:
            outcome = await resumed(program, left, dies_at=dies_at)
        except CrashedError:
            shown = len([one for one in left.commits if one.steps])
            left.commits = left.commits[: shown - 1]  # what came with its last is not stored
            outcome = await resumed(program, left)
        told = results(left, outcome)
        assert told[0] == REFUSED, f"dies at {dies_at}"
        assert [one for one, _ in told] == ["w", "a"], f"dies at {dies_at}"
        assert "wiped desk" not in left.done
        again = await resumed(program, left)
        assert again.asked == 0
        assert again.stop.result == outcome.stop.result


async def test_a_call_of_what_there_is_not_has_its_result_too() -> None:
    def unknown(system: str, items: Any) -> Any:
        if system == "inner" and not outputs(items):
            return [call("wipe_all", "x", what="desk")]
        return asks(system, items)

    world = World()
    outcome = await attempt(program_of("as tool"), world, answers=unknown)
    assert outcome.stop.error is None
    assert [one for one, _ in results(world, outcome)] == ["x", "a"]
