"""Context objects of the author's own class: made anew for each attempt, and as they were."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from agents import Agent, RunContextWrapper, function_tool

from baton import RunContext
from runner.carried import StopKind
from runner.drop_ins.exports import ContextFactory, Factory
from shared.protocol.codes import Code
from tests.runner.replay.rig import World, assert_replays, attempt, call, outputs, text

pytestmark = pytest.mark.asyncio


@dataclass
class Shop:
    """What the author keeps of a run."""

    customer: str
    basket: list[str] = field(default_factory=list)


def make_shop(run: RunContext) -> Shop:
    return Shop(customer=run.user_id)


async def make_shop_later() -> Shop:
    return Shop(customer="anybody")


SHOP = ContextFactory(make_shop, takes_context=True)


@function_tool
async def put(context: RunContextWrapper[Shop], what: str) -> str:
    context.context.basket.append(what)
    return f"{len(context.context.basket)} in the basket"


def instructions(context: RunContextWrapper[Shop], agent: Agent[Shop]) -> str:
    return f"{agent.name}: {context.context.basket}"


def shopping(_world: World) -> Agent[Any]:
    packer = Agent[Shop](name="P", instructions=instructions, tools=[put])
    till = Agent[Shop](name="T", instructions=instructions, tools=[put])
    return Agent[Shop](
        name="A",
        instructions=instructions,
        tools=[put, packer.as_tool("pack", "Packs.")],
        handoffs=[till],
    )


def shops(system: str, items: Any) -> Any:
    """Each agent puts something into the one basket, and says what it is told of it."""
    done = outputs(items)
    if system.startswith("P"):
        return [call("put", "p1", what="bag")] if not done else [text(system)]
    match len(done):
        case 0:
            return [call("put", "c1", what="tea")]
        case 1:
            return [call("pack", "c2", input="go")]
        case 2:
            return [call("transfer_to_t", "c3")]
        case 3:
            return [call("put", "c4", what="receipt")]
    return [text(f"{system} | {done['c2']}")]


async def test_it_is_shared_by_all_agents_and_replays_from_every_step() -> None:
    outcome = await assert_replays(shopping, shops, make_context=SHOP)
    assert outcome.stop.result == "T: ['tea', 'bag', 'receipt'] | P: ['tea', 'bag']"
    assert outcome.run.context == Shop(str(outcome.run.claimed.user), ["tea", "bag", "receipt"])


async def test_each_attempt_has_one_of_its_own() -> None:
    world = World()
    first = await attempt(shopping, world, answers=shops, make_context=SHOP)
    second = await attempt(shopping, world, answers=shops, make_context=SHOP)
    assert first.run.context == second.run.context
    assert first.run.context is not second.run.context


async def test_it_may_be_made_later_and_from_nothing() -> None:
    factory = ContextFactory(make_shop_later, takes_context=False)
    outcome = await attempt(shopping, World(), answers=shops, make_context=factory)
    assert outcome.run.context.customer == "anybody"


def nothing() -> None:
    return None


def broken() -> Any:
    raise KeyError("no shop")


@pytest.mark.parametrize(("make", "why"), [(nothing, "made no context"), (broken, "no shop")])
async def test_one_that_cannot_be_made_ends_the_run(make: Any, why: str) -> None:
    factory = ContextFactory(make, takes_context=False)
    outcome = await attempt(shopping, World(), answers=shops, make_context=factory)
    assert outcome.stop.kind is StopKind.FAILED
    assert outcome.stop.error is not None
    assert outcome.stop.error.code is Code.AGENT_ERROR
    assert why in outcome.stop.error.message


async def test_an_agent_made_for_a_run_that_wants_one_is_refused_without() -> None:
    def program(world: World) -> Factory:
        return Factory(lambda: shopping(world), takes_context=False)

    outcome = await attempt(program, World(), answers=shops)
    assert outcome.stop.error is not None
    assert "written for the context class Shop" in outcome.stop.error.message
    made = await attempt(program, World(), answers=shops, make_context=SHOP)
    assert made.stop.kind is StopKind.FINISHED
