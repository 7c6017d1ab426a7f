"""Snapshots: a replay begins near its end, and from its beginning wherever that is not safe."""

import asyncio
import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import orjson
import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    Runner,
    SQLiteSession,
    function_tool,
)

from runner.carried import StopKind
from shared.protocol.record import StepRecord
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

TURNS = 4


def program(_world: World) -> Agent[Any]:
    @function_tool
    def add(a: int) -> str:
        return f"added {a}"

    return Agent(name="A", tools=[add])


def answers(_system: str, items: Any) -> Any:
    done = len(outputs(items))
    return [text("end")] if done >= TURNS else [call("add", f"c{done}", a=done)]


async def died(program: Program, dies_at: int = 7, **options: Any) -> World:
    """What is left of a run that died; by default in its last tool call."""
    world = World()
    with pytest.raises(CrashedError):
        await attempt(program, world, dies_at=dies_at, **({"answers": answers} | options))
    return world


async def goes_on(world: World, **options: Any) -> Outcome:
    outcome = await attempt(program, world, answers=answers, **options)
    assert (outcome.stop.kind, outcome.stop.result) == (StopKind.FINISHED, "end")
    assert len(outcome.run.messages()) == 2 * TURNS
    assert sum(outcome.run.usage["scripted"].values()) == 6 * (TURNS + 1)
    return outcome


def opened(snapshot: str | None) -> dict[str, Any]:
    assert snapshot is not None
    envelope: dict[str, Any] = orjson.loads(zlib.decompress(base64.b64decode(snapshot[32:])))
    return envelope


def sealed(plain: Any) -> str:
    """A snapshot whose seal is right, whatever is in it."""
    packed = zlib.compress(orjson.dumps(plain))
    return sha256(packed).hexdigest()[:32] + base64.b64encode(packed).decode()


# ------------------------------------------------------------------------------ what it is good for
async def test_replay_begins_where_the_newest_was_taken() -> None:
    world = await died(program)
    outcome = await goes_on(world)
    assert outcome.run.restored is not None
    assert outcome.run.restored.position == 3  # before the fourth call, which is recorded
    assert not outcome.began_again


async def test_one_is_taken_every_so_many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.snapshots.EVERY_TURNS", 3)
    world = await died(program, dies_at=6)
    assert world.snapshot is None  # it goes along with the step after it
    world = await died(program, dies_at=7)
    assert opened(world.snapshot)["steps"] == 6


async def test_a_tools_body_and_the_instructions_of_earlier_turns_are_left_alone() -> None:
    def counting(world: World) -> Agent[Any]:
        def instructions(_context: Any, _agent: Any) -> str:
            world.do("instructed")
            return "outer"

        return replace(program(world), instructions=instructions)

    world = await died(counting)
    world.done.clear()
    outcome = await attempt(counting, world, answers=answers)
    assert outcome.stop.result == "end"
    assert world.done == ["instructed"] * 2  # for the fourth call, replayed, and the fifth


async def test_a_run_that_goes_on_from_one_takes_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.snapshots.EVERY_TURNS", 2)
    world = await died(program, dies_at=5)
    assert opened(world.snapshot)["steps"] == 4
    before = world.snapshot
    await goes_on(world)
    assert world.snapshot != before
    assert opened(world.snapshot)["steps"] == 8


# ------------------------------------------------------------------------------ what does not count
def _flipped(snapshot: str) -> str:
    middle = len(snapshot) // 2
    other = "A" if snapshot[middle] != "A" else "B"
    return snapshot[:middle] + other + snapshot[middle + 1 :]


def _with(**changed: Any) -> Callable[[str], str]:
    return lambda snapshot: sealed(opened(snapshot) | changed)


def _state_with(**changed: Any) -> Callable[[str], str]:
    def change(snapshot: str) -> str:
        envelope = opened(snapshot)
        return sealed(envelope | {"state": envelope["state"] | changed})

    return change


RUBBISH: dict[str, Callable[[str], str]] = {
    "a flipped byte": _flipped,
    "nothing": lambda _: "",
    "not base64": lambda _: "f" * 32 + "***",
    "not even text of ours": lambda _: "\x00\ud7ff",
    "cut off": lambda snapshot: snapshot[:-8],
    "a pickle": lambda _: sealed("cos\nsystem\n(S'false'\ntR."),
    "a list": lambda _: sealed([1, 2]),
    "null": lambda _: sealed(None),
    "numbers as texts": _with(steps="7"),
    "a state that is a text": _with(state="{}"),
    "an empty state": _with(state={}),
    "too long": lambda _: sealed("x" * 40_000_000),
    "another SDK": _with(sdk="0.0.1"),
    "other code": _with(code="changed"),
    "another journal": _with(journal="0" * 64),
    "fewer steps": _with(steps=3),
    "no steps": _with(steps=0),
    "negative steps": _with(steps=-1),
    "more steps than there are": _with(steps=700),
    "another turn": _state_with(current_turn=2),
    "a turn that is a text": _state_with(current_turn="3"),
    "an agent of other code": _state_with(current_agent={"name": "Eve"}),
    "items that are texts": _state_with(generated_items=["x", "y"]),
    "items that are numbers": _state_with(generated_items=7),
    "an unknown schema": _state_with(**{"$schemaVersion": "99.0"}),
    "a context of its own": _state_with(context=[]),
}


@pytest.mark.parametrize("what", RUBBISH)
async def test_rubbish_is_passed_over(what: str) -> None:
    world = await died(program)
    assert world.snapshot is not None
    world.snapshot = RUBBISH[what](world.snapshot)
    outcome = await goes_on(world)
    assert outcome.run.restored is None


async def test_that_of_another_run_is_passed_over() -> None:
    def others(system: str, items: Any) -> Any:
        done = len(outputs(items))
        return [text("end")] if done >= TURNS else [call("add", f"d{done}", a=done)]

    world, foreign = await died(program), await died(program, answers=others)
    world.snapshot = foreign.snapshot
    assert (await goes_on(world)).run.restored is None


async def test_that_of_another_conversation_is_passed_over() -> None:
    world = await died(program)
    outcome = await attempt(program, world, "something else", answers=answers)
    assert outcome.run.restored is None
    assert outcome.stop.kind is StopKind.FAILED


async def test_one_that_leads_elsewhere_costs_a_replay_and_nothing_else() -> None:
    """Its seal and its place are right, but not what it says of the conversation."""
    world = await died(program)
    envelope = opened(world.snapshot)
    assert b"added 1" in orjson.dumps(envelope)
    plain = orjson.dumps(envelope).replace(b"added 1", b"added 7")
    world.snapshot = sealed(orjson.loads(plain))
    asked = len(world.asked)
    outcome = await goes_on(world)
    assert outcome.began_again
    assert len(world.asked) == asked + 1


async def test_behind_a_record_that_was_changed_it_does_not_count() -> None:
    world = await died(program)
    first = world.journal[1]
    world.journal[1] = StepRecord(
        **first.model_dump() | {"record": first.record.replace("added", "ADDED")}
    )
    outcome = await attempt(program, world, answers=answers)
    assert outcome.run.restored is None
    assert outcome.stop.error is not None
    assert outcome.stop.error.code == "journal_diverged"


# ------------------------------------------------------------------------------ where none is taken
async def test_none_while_a_guardrail_of_the_first_turn_still_looks() -> None:
    def guarded(world: World) -> Agent[Any]:
        async def look(_context: Any, _agent: Any, _input: Any) -> GuardrailFunctionOutput:
            await asyncio.Event().wait()
            return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)

        agent = program(world)
        agent.input_guardrails = [InputGuardrail(look, name="look")]
        return agent

    world = await died(guarded, dies_at=5)
    assert sum(step.kind == "model" for step in world.journal) == 3
    assert world.snapshot is None


@dataclass
class Opaque:
    """A context with something in it that JSON cannot carry."""

    what: Any


@pytest.mark.parametrize(
    "context",
    [{"what": object()}, {7: "seven"}, Opaque(object()), object(), SQLiteSession("s")],
    ids=["a value", "a key", "a field", "an object", "a class of its own"],
)
async def test_none_with_a_context_that_json_cannot_carry(context: Any) -> None:
    assert (await died(program, context=context)).snapshot is None
    assert (await died(program, context={"what": "text"})).snapshot is not None


async def test_none_where_instructions_run_agents() -> None:
    def nested(world: World) -> Agent[Any]:
        async def instructions(_context: Any, _agent: Any) -> str:
            inner = Agent(name="Inner", instructions="inner")
            return str((await Runner.run(inner, "what to do?")).final_output)

        return replace(program(world), instructions=instructions)

    def saying(system: str, items: Any) -> Any:
        return [text("do it")] if system == "inner" else answers(system, items)

    assert (await died(nested, answers=saying)).snapshot is None


async def test_none_without_a_digest_of_the_code() -> None:
    world = await died(program)
    before = world.snapshot
    outcome = await attempt(program, world, answers=answers, code=None)
    assert outcome.run.restored is None
    assert world.snapshot == before
