"""Effects whose outcome nobody knew, after a person has settled them, and while one does."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.store import effects
from gateway.store.effects import Settlement
from shared.db.direct import direct
from shared.db.records import EffectStatus
from tests.toolsvc.test_effects import claimant
from tests.toolsvc.tool_rig import Rig, opened
from tests.toolsvc.tool_world import World
from toolsvc.effects import Claimant, EffectKey, Outcome, Standing, claim, settle

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

DONE = Settlement(EffectStatus.DONE, result='"by hand"')
FAILED = Settlement(EffectStatus.FAILED, error_code="no_money", error_message="None left.")
RETRY = Settlement(EffectStatus.RETRY)


@pytest.fixture
def world() -> World:
    return World()


@pytest_asyncio.fixture
async def rig(database_url: str, world: World) -> AsyncIterator[Rig]:
    async with opened(database_url, *world.tools()) as made:
        yield made


async def dead(rig: Rig, name: str, *, call_id: str = "call_x") -> Claimant:
    """A call that somebody has begun, and whose lease has ended."""
    who = claimant(rig, name, lease_s=-1, call_id=call_id)
    async with rig.engine.begin() as connection:
        assert (await claim(connection, who)).standing is Standing.MINE
    return who


async def says(rig: Rig, key: EffectKey, said: Settlement) -> bool:
    url = rig.engine.url.render_as_string(hide_password=False)
    async with direct(url, size=1) as own, own.transaction() as db:
        return await effects.settle(db, key.as_text, said, "operator@localhost")


async def ends(rig: Rig, who: Claimant, outcome: Outcome) -> bool:
    async with rig.engine.begin() as connection:
        return await settle(connection, who, outcome)


async def test_the_key_in_sql_is_the_key_that_tools_pass_on(rig: Rig, world: World) -> None:
    scopes = ["", r"run:A\B#0/x\\y", "a/'b'"]
    for scope in scopes:
        await rig.result("act", call_id=r"call\1", baton_scope=scope)
    rows = await rig.sql("SELECT key FROM effects ORDER BY created_at")
    assert [row.key for row in rows] == world.keys


async def test_what_was_settled_as_done_is_the_answer(rig: Rig, world: World) -> None:
    who = await dead(rig, "act")
    assert await says(rig, who.key, DONE)
    assert await rig.result("act", call_id="call_x") == "by hand"
    assert world.effects == []


@pytest.mark.parametrize(("name", "on_error"), [("act", "run"), ("refuse", "model")])
async def test_what_was_settled_as_failed_fails_as_the_tool_says(
    rig: Rig, world: World, name: str, on_error: str
) -> None:
    who = await dead(rig, name)
    assert await says(rig, who.key, FAILED)
    status, error = await rig.refusal(name, call_id="call_x")
    assert (status, error["code"], error["message"]) == (500, "no_money", "None left.")
    assert error["onError"] == on_error
    assert world.effects == []


@pytest.mark.parametrize("name", ["act", "act_again"])
async def test_what_was_settled_as_retry_is_run_once_more_whoever_asks_how_often(
    rig: Rig, world: World, name: str
) -> None:
    who = await dead(rig, name)
    assert await says(rig, who.key, RETRY)
    answers = await asyncio.gather(*(rig.call(name, call_id="call_x") for _ in range(20)))
    assert {answer.text for answer in answers} == {'{"result":{"effect":1}}'}
    assert await rig.effects() == [(name, "done")]


async def test_a_retry_that_dies_as_well_is_unknown_again(rig: Rig, world: World) -> None:
    who = await dead(rig, "act")
    assert await says(rig, who.key, RETRY)
    async with rig.engine.begin() as connection:
        again = claimant(rig, "act", lease_s=-1, executor="another/2")
        assert (await claim(connection, again)).standing is Standing.MINE
    assert (await rig.refusal("act", call_id="call_x"))[1]["code"] == "tool_outcome_unknown"
    assert world.effects == []


@pytest.mark.parametrize("said", [DONE, FAILED, RETRY], ids=lambda said: said.status)
async def test_an_executor_that_wakes_up_does_not_change_what_was_settled(
    rig: Rig, said: Settlement
) -> None:
    late = await dead(rig, "act")
    assert await says(rig, late.key, said)
    assert not await ends(rig, late, Outcome(result='"late"'))
    assert await rig.effects() == [("act", said.status)]


async def test_an_executor_that_lives_is_not_overruled(rig: Rig, world: World) -> None:
    world.may_end.clear()
    calling = asyncio.create_task(rig.call("act", call_id="call_x"))
    await world.begun.wait()
    key = claimant(rig, "act", lease_s=0).key
    assert not any([await says(rig, key, said) for said in (DONE, FAILED, RETRY)])
    world.may_end.set()
    assert (await calling).json() == {"result": {"effect": 1}}
    assert not await says(rig, key, DONE)


async def test_of_a_person_and_a_late_executor_one_is_believed(rig: Rig) -> None:
    won: dict[bool, int] = {True: 0, False: 0}
    for number in range(20):
        call_id = f"call_{number}"
        late = await dead(rig, "act", call_id=call_id)
        by_hand = says(rig, late.key, DONE)
        by_itself = ends(rig, late, Outcome(result='"late"'))
        order: list[Any] = [by_hand, by_itself] if number % 2 else [by_itself, by_hand]
        first, second = await asyncio.gather(*order)
        assert first != second
        person = first if number % 2 else second
        won[person] += 1
        answer = await rig.result("act", call_id=call_id)
        assert answer == ("by hand" if person else "late")
    assert sum(won.values()) == 20


async def test_of_a_person_and_a_repeat_of_an_idempotent_call_one_decides(
    rig: Rig, world: World
) -> None:
    for number in range(10):
        call_id = f"call_{number}"
        began = await dead(rig, "act_again", call_id=call_id)
        before = len(world.effects)
        by_hand, answer = await asyncio.gather(
            says(rig, began.key, DONE), rig.result("act_again", call_id=call_id)
        )
        assert len(world.effects) - before == (0 if by_hand else 1)
        assert (answer == "by hand") == by_hand


async def test_arguments_are_kept_only_while_somebody_may_have_to_settle(rig: Rig) -> None:
    async def arguments() -> list[str | None]:
        rows = await rig.sql("SELECT arguments FROM effects ORDER BY created_at")
        return [row.arguments for row in rows]

    await rig.result("act", {"what": "secret"})
    who = await dead(rig, "act")
    assert await arguments() == [None, "{}"]
    assert await says(rig, who.key, DONE)
    assert await arguments() == [None, "{}"]


async def test_an_executor_may_claim_again_what_it_has_not_begun(rig: Rig) -> None:
    """The answer to a claim may be lost; others find it claimed all the same."""
    mine = claimant(rig, "act", lease_s=10)
    for who, standing in (
        (mine, Standing.MINE),
        (mine, Standing.MINE),
        (claimant(rig, "act", lease_s=10, executor="another/2"), Standing.BUSY),
    ):
        async with rig.engine.begin() as connection:
            assert (await claim(connection, who)).standing is standing
