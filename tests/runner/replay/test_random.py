"""Random programs over what the SDK can do: each is cut off after every step, and ends alike."""

import asyncio
from random import Random
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    RunContextWrapper,
    Runner,
    function_tool,
    input_guardrail,
    output_guardrail,
)

from runner.models.digest import digest_of
from tests.runner.replay.rig import (
    Answers,
    Program,
    World,
    assert_replays,
    attempt,
    call,
    outputs,
    text,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

#: Tools and agents of an agent, by its name; what is deeper has less.
TOOLS = {
    "root": ("add", "slow", "keep", "helped", "ask_inner"),
    "inner": ("add", "keep", "ask_leaf"),
    "second": ("add", "slow"),
    "leaf": ("add",),
    "helper": ("add",),
}
MOST_TURNS = {"root": 3, "inner": 2, "second": 2, "leaf": 1, "helper": 1}
SEEDS = 15
#: Two of the programs have more steps, and would cost as much as all others.
CUTS = 27


@function_tool
def add(a: int, b: int) -> int:
    return a + b


@function_tool
async def slow(a: int, b: int) -> str:
    for _ in range(a):
        await asyncio.sleep(0)
    return f"slow {b}"


@function_tool
def keep(context: RunContextWrapper[Any], a: int, b: int) -> str:
    context.context[f"k{a}"] = b
    return "kept"


def helping(helper: Agent[Any]) -> Any:
    """A tool that runs an agent of its own a few times at once."""

    @function_tool
    async def helped(a: int, b: int) -> str:
        async def one(number: int) -> str:
            for _ in range((a * number) % 4):
                await asyncio.sleep(0)
            return str((await Runner.run(helper, f"part {number} of {a}")).final_output)

        return " ".join(await asyncio.gather(*(one(number) for number in range(1 + b % 3))))

    return helped


def judged_by(helper: Agent[Any]) -> Any:
    """A guardrail that asks an agent."""

    @input_guardrail
    async def judged(_context: Any, _agent: Any, _given: Any) -> GuardrailFunctionOutput:
        said = await Runner.run(helper, "input?")
        return GuardrailFunctionOutput(said.final_output, tripwire_triggered=False)

    return judged


@output_guardrail
async def checked(_context: Any, _agent: Any, output: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(len(str(output)), tripwire_triggered=False)


def program_of(seed: int) -> Program:
    """An agent with tools of every kind; guardrails and a hand-off for some seeds."""

    def program(_world: World) -> Agent[Any]:
        helper = Agent(name="helper", instructions="helper", tools=[add])
        leaf = Agent(name="leaf", instructions="leaf", tools=[add])
        ask_leaf = leaf.as_tool("ask_leaf", "Asks the leaf.")
        inner = Agent(name="inner", instructions="inner", tools=[add, keep, ask_leaf])
        ask_inner = inner.as_tool("ask_inner", "Asks the inner one.")
        second = Agent(name="second", instructions="second", tools=[add, slow])
        return Agent(
            name="root",
            instructions="root",
            tools=[add, slow, keep, helping(helper), ask_inner],
            handoffs=[second] if seed % 3 == 0 else [],
            input_guardrails=[judged_by(helper)] if seed % 4 == 0 else [],
            output_guardrails=[checked] if seed % 5 == 0 else [],
        )

    return program


def answers_of(seed: int) -> Answers:
    """A model that decides by chance, and for the same input alike."""

    def answers(system: str, items: Any) -> Any:
        digest = digest_of(system, items)
        chance = Random(f"{seed} {digest}")
        turns = sum(one.get("role") == "assistant" for one in items)
        if turns >= MOST_TURNS[system] or (turns and chance.random() < 0.3):
            return [text(f"{system} ends: {list(outputs(items).values())}")]
        said = text(f"{system} turn {turns}")
        if system == "root" and seed % 3 == 0 and turns == 1:
            return [said, call("transfer_to_second", f"h-{digest[:8]}")]
        return [said, *(_call(chance, system, digest, n) for n in range(chance.randint(1, 3)))]

    return answers


def _call(chance: Random, system: str, digest: str, number: int) -> Any:
    name = chance.choice(TOOLS[system])
    id_ = f"{system}-{digest[:8]}-{number}"
    if name.startswith("ask_"):
        return call(name, id_, input=f"question {number}")
    return call(name, id_, a=chance.randint(0, 9), b=chance.randint(0, 9))


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_random_program_ends_alike_however_it_is_cut_off(seed: int) -> None:
    outcome = await assert_replays(
        program_of(seed), answers_of(seed), racing=True, cuts=CUTS, context=dict, max_turns=20
    )
    assert "ends" in outcome.stop.result


async def test_the_random_programs_are_not_all_alike() -> None:
    """A generator that makes little would show little."""
    kinds: list[str] = []
    for seed in range(SEEDS):
        world = World()
        await attempt(program_of(seed), world, answers=answers_of(seed), context={}, max_turns=20)
        kinds += [step.kind for step in world.journal]
        kinds += ["nested" for step in world.journal if step.scope.count("run:") > 1]
    assert min(kinds.count(kind) for kind in ("model", "tool", "shown", "guardrail", "nested")) > 3
    assert len(kinds) > 20 * SEEDS
