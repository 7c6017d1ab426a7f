"""A run that needs a person's approval ends with a question, and goes on with the answer."""

import asyncio
from typing import Any

import pytest
from agents import Agent, GuardrailFunctionOutput, Runner, function_tool, input_guardrail

from runner.carried import StopKind
from tests.runner.replay.approving import Judge, decided, until_it_ends, yes
from tests.runner.replay.rig import (
    Answers,
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


async def assert_dies_anywhere(
    program: Program, answers: Answers, judge: Judge = yes, *, every: int = 1
) -> tuple[Outcome, World]:
    """Kill the carrier at steps, before and after the decision: nothing is done twice."""
    whole = World()
    undisturbed = await until_it_ends(program, whole, answers, judge)
    for steps in range(0, len(whole.journal), every):
        world = World()
        died = 0
        outcome = None
        while outcome is None or outcome.stop.kind is StopKind.INTERRUPTED:
            dies_at = steps if not died else None
            try:
                outcome = await attempt(program, world, answers=answers, dies_at=dies_at)
            except CrashedError:
                died += 1
                continue
            world.decisions += decided(outcome, judge)
        assert died == 1, f"at {steps} steps"
        assert outcome.stop.result == undisturbed.stop.result, f"at {steps} steps"
        assert sorted(set(world.done)) == sorted(set(whole.done)), f"at {steps} steps"
    return undisturbed, whole


def mailing(world: World, needs: Any = True) -> Agent[Any]:
    @function_tool(needs_approval=needs)
    async def send(to: str) -> str:
        world.do(f"sent {to}")
        return f"sent to {to}"

    @function_tool
    async def look(what: str) -> str:
        world.do(f"looked at {what}")
        return f"seen {what}"

    return Agent(name="A", instructions="outer", tools=[send, look])


def mails(_system: str, items: Any) -> Any:
    done = outputs(items)
    match len(done):
        case 0:
            return [
                call("look", "c1", what="x"),
                call("send", "c2", to="ada"),
                call("look", "c3", what="y"),
            ]
        case 3:
            return [call("send", "c4", to="bob")]
    return [text(" | ".join(done.values()))]


async def test_everything_else_of_the_turn_is_done_before_it_asks() -> None:
    world = World()
    outcome = await attempt(mailing, world, answers=mails)
    assert outcome.stop.kind is StopKind.INTERRUPTED
    (question,) = outcome.stop.asked
    assert (question.record.tool, question.record.call_id) == ("send", "c2")
    assert question.record.arguments == '{"to":"ada"}'
    assert question.event["toolCallId"] == "c2"
    assert sorted(world.done) == ["looked at x", "looked at y"]
    assert [one.place for one in world.journal if one.kind == "tool"] in (
        ["c1", "c3"],
        ["c3", "c1"],
    )


async def test_it_goes_on_where_it_asked() -> None:
    world = World()
    outcome = await until_it_ends(mailing, world, mails)
    assert outcome.stop.result == "seen x | sent to ada | seen y | sent to bob"
    assert sorted(world.done) == ["looked at x", "looked at y", "sent ada", "sent bob"]
    assert len(world.asked) == 3


async def test_it_may_die_anywhere() -> None:
    await assert_dies_anywhere(mailing, mails)


async def test_the_model_is_told_of_a_refusal_in_the_persons_words() -> None:
    def judge(_tool: str, arguments: str) -> bool | str:
        return True if "bob" in arguments else "Ada is on holiday."

    outcome, whole = await assert_dies_anywhere(mailing, mails, judge)
    assert outcome.stop.result == "seen x | Ada is on holiday. | seen y | sent to bob"
    assert "sent ada" not in whole.done


async def test_a_refusal_is_shown_as_the_result_of_the_call() -> None:
    world = World()
    outcome = await attempt(mailing, world, answers=mails)
    world.decisions = decided(outcome, lambda *_: "no")
    outcome = await attempt(mailing, world, answers=mails, resumes=True)
    told = [one for one in outcome.run.messages() if one.get("toolCallId") == "c2"]
    assert [one["content"] for one in told] == ["no"]


async def test_a_predicate_asks_by_arguments() -> None:
    async def needs(_context: Any, arguments: dict[str, Any], _call_id: str) -> bool:
        return bool(arguments["to"] == "bob")

    world = World()
    outcome = await attempt(lambda w: mailing(w, needs), world, answers=mails)
    assert [one.record.call_id for one in outcome.stop.asked] == ["c4"]
    outcome, _ = await assert_dies_anywhere(lambda w: mailing(w, needs), mails)
    assert outcome.stop.kind is StopKind.FINISHED


async def test_a_decision_counts_for_the_arguments_that_were_shown_alone() -> None:
    world = World()
    outcome = await attempt(mailing, world, answers=mails)
    (one,) = decided(outcome, yes)
    world.decisions = [one.model_copy(update={"digest": "of other arguments"})]
    outcome = await attempt(mailing, world, answers=mails, resumes=True)
    assert [one.record.call_id for one in outcome.stop.asked] == ["c2"]
    assert "sent ada" not in world.done


async def test_decisions_of_another_scope_decide_nothing() -> None:
    world = World()
    outcome = await attempt(mailing, world, answers=mails)
    (one,) = decided(outcome, yes)
    world.decisions = [one.model_copy(update={"scope": "run:B:00000000#0"})]
    outcome = await attempt(mailing, world, answers=mails, resumes=True)
    assert outcome.stop.kind is StopKind.INTERRUPTED
    assert "sent ada" not in world.done


def nested(world: World) -> Agent[Any]:
    """Two agents as tools at once, one of them asking, inside another one."""

    @function_tool(needs_approval=True)
    async def wipe(what: str) -> str:
        world.do(f"wiped {what}")
        return f"wiped {what}"

    @function_tool
    async def look(what: str) -> str:
        world.do(f"looked at {what}")
        return f"seen {what}"

    inner = Agent(name="Inner", instructions="inner", tools=[wipe, look])
    middle = Agent(name="Middle", instructions="middle", tools=[inner.as_tool("ask", "Asks.")])
    return Agent(name="A", instructions="outer", tools=[middle.as_tool("tell", "Tells."), look])


def cleans(system: str, items: Any) -> Any:
    done = outputs(items)
    said = str(items[0]["content"])
    if system == "inner":
        calls = [call("wipe", f"w_{said}", what=said), call("look", f"l_{said}", what=said)]
        return [text(" ".join(done.values()))] if done else calls
    if system == "middle":
        if done:
            return [text(" + ".join(done.values()))]
        return [
            call("ask", f"a_{said}_1", input=f"{said}1"),
            call("ask", f"a_{said}_2", input=f"{said}2"),
        ]
    if done:
        return [text(" | ".join(done.values()))]
    return [
        call("tell", "t1", input="desk"),
        call("look", "l0", what="door"),
        call("tell", "t2", input="disk"),
    ]


async def test_agents_inside_agents_ask_all_at_once() -> None:
    world = World()
    outcome = await attempt(nested, world, answers=cleans)
    asked = sorted(one.record.call_id for one in outcome.stop.asked)
    assert asked == ["w_desk1", "w_desk2", "w_disk1", "w_disk2"]
    assert len({one.record.scope for one in outcome.stop.asked}) == 4
    assert "shown" not in {one.kind for one in world.journal}
    assert len([one for one in world.done if one.startswith("looked")]) == 5


async def test_agents_inside_agents_go_on_with_every_answer() -> None:
    def judge(_tool: str, arguments: str) -> bool | str:
        return "not the disk" if "disk2" in arguments else True

    outcome, whole = await assert_dies_anywhere(nested, cleans, judge, every=5)
    assert outcome.stop.result == (
        "wiped desk1 seen desk1 + wiped desk2 seen desk2 | seen door"
        " | wiped disk1 seen disk1 + not the disk seen disk2"
    )
    assert len(whole.done) == len(set(whole.done)) == 8


def helping(world: World, *, how: str = "run") -> Agent[Any]:
    """A tool that runs an agent of its own, which asks; and one beside it."""

    @function_tool(needs_approval=True)
    async def wipe(what: str) -> str:
        world.do(f"wiped {what}")
        return f"wiped {what}"

    careful = Agent(name="Careful", instructions="careful", tools=[wipe])

    @function_tool
    async def tidy(what: str) -> str:
        if how == "streamed":
            streamed = Runner.run_streamed(careful, what)
            async for _ in streamed.stream_events():
                pass
            return str(streamed.final_output)
        if how == "gathered":
            both = await asyncio.gather(*(Runner.run(careful, f"{what}{n}") for n in (1, 2)))
            return " & ".join(str(one.final_output) for one in both)
        return str((await Runner.run(careful, what)).final_output)

    @function_tool
    def tidy_here(what: str) -> str:
        return str(Runner.run_sync(careful, what).final_output)

    @function_tool
    async def look(what: str) -> str:
        for _ in range(20):
            await asyncio.sleep(0.01)
        world.do(f"looked at {what}")
        return f"seen {what}"

    tools: list[Any] = [tidy_here if how == "sync" else tidy, look]
    return Agent(name="A", instructions="outer", tools=tools)


def tidies(system: str, items: Any) -> Any:
    done = outputs(items)
    said = str(items[0]["content"])
    if system == "careful":
        return [text(" ".join(done.values()))] if done else [call("wipe", f"w_{said}", what=said)]
    if done:
        return [text(" | ".join(done.values()))]
    tool = "tidy_here" if "here" in said else "tidy"
    return [call(tool, "c1", what="desk"), call("look", "c2", what="x")]


@pytest.mark.parametrize("how", ["run", "streamed", "gathered", "sync"])
async def test_code_that_knows_nothing_of_approvals_waits_for_them(how: str) -> None:
    """Never does its model hear of a result that is none; what goes on beside it ends first."""

    def program(world: World) -> Agent[Any]:
        return helping(world, how=how)

    world, said = World(), "here" if how == "sync" else "go"
    outcome = await attempt(program, world, said, answers=tidies)
    names = ["w_desk1", "w_desk2"] if how == "gathered" else ["w_desk"]
    assert sorted(one.record.call_id for one in outcome.stop.asked) == names
    assert world.done == ["looked at x"]
    world.decisions = decided(outcome, yes)
    outcome = await attempt(program, world, said, answers=tidies, resumes=True)
    wiped = " & ".join(f"wiped {name.removeprefix('w_')}" for name in names)
    assert outcome.stop.result == f"{wiped} | seen x"
    assert len(world.done) == len(names) + 1


async def test_code_that_knows_nothing_of_approvals_may_die_anywhere() -> None:
    await assert_dies_anywhere(helping, tidies)


async def test_a_guardrail_that_runs_an_agent_which_asks_waits_too() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool(needs_approval=True)
        async def wipe(what: str) -> str:
            world.do(f"wiped {what}")
            return f"wiped {what}"

        careful = Agent(name="Careful", instructions="careful", tools=[wipe])

        @input_guardrail
        async def guard(_context: Any, _agent: Any, _given: Any) -> GuardrailFunctionOutput:
            result = await Runner.run(careful, "desk")
            said = str(result.final_output)
            return GuardrailFunctionOutput(output_info=said, tripwire_triggered=said == "None")

        return Agent(name="A", instructions="outer", input_guardrails=[guard])

    def answers(system: str, items: Any) -> Any:
        return tidies(system, items) if system == "careful" else [text("hello")]

    world = World()
    outcome = await attempt(program, world, answers=answers)
    assert [one.record.call_id for one in outcome.stop.asked] == ["w_desk"]
    outcome = await until_it_ends(program, World(), answers)
    assert (outcome.stop.kind, outcome.stop.result) == (StopKind.FINISHED, "hello")
