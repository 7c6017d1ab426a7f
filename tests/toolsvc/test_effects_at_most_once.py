"""Answers that are lost, executors that sleep, fences that rise: still at most one effect."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from sqlalchemy.exc import OperationalError

from tests.toolsvc.tool_rig import Rig, opened
from tests.toolsvc.tool_world import World
from toolsvc import execution
from toolsvc.effects import Claimant, Found, claim, settle

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


@pytest.fixture
def world() -> World:
    return World()


@pytest_asyncio.fixture
async def rig(database_url: str, world: World) -> AsyncIterator[Rig]:
    async with opened(database_url, *world.tools()) as made:
        yield made


def lost() -> OperationalError:
    return OperationalError("…", {}, psycopg.OperationalError("the connection is lost"))


async def test_the_answer_to_a_claim_is_lost(
    rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    executors: list[str] = []

    async def first_answer_lost(connection: Any, who: Claimant) -> Found:
        found = await claim(connection, who)
        executors.append(who.executor)
        if len(executors) == 1:
            raise lost()
        return found

    monkeypatch.setattr(execution, "claim", first_answer_lost)
    assert await rig.result("act", call_id="call_x") == {"effect": 1}
    assert len(executors) == 2
    assert len(set(executors)) == 1
    assert await rig.effects() == [("act", "done")]


async def test_the_answer_to_an_outcome_is_lost(
    rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[bool] = []

    async def first_answer_lost(*given: Any) -> bool:
        tries.append(await settle(*given))
        if len(tries) == 1:
            raise lost()
        return tries[-1]

    monkeypatch.setattr(execution, "settle", first_answer_lost)
    assert await rig.result("act", call_id="call_x") == {"effect": 1}
    assert tries == [True, False]
    assert len(world.effects) == 1


@pytest.mark.parametrize("stored", [True, False])
async def test_the_answer_to_the_commit_of_a_transaction_is_lost(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    dialect = rig.engine.sync_engine.dialect
    commit = dialect.do_commit

    def lost_on_the_way(connection: Any) -> None:
        monkeypatch.setattr(dialect, "do_commit", commit)
        if stored:
            commit(connection)
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(dialect, "do_commit", lost_on_the_way)
    first = await rig.call("save_note", {"text": "milk"}, call_id="call_x")
    assert (first.status_code, first.headers["retry-after"]) == (503, "1")
    again = await rig.call("save_note", {"text": "milk"}, call_id="call_x")
    assert again.json()["result"]["text"] == "milk"
    assert ("baton-replayed" in again.headers) is stored
    assert len(await rig.sql("SELECT FROM notes")) == 1


@pytest.mark.parametrize("taken_over", [True, False])
async def test_an_executor_that_sleeps_between_claim_and_effect_looks_again(
    rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch, taken_over: bool
) -> None:
    asleep_s = 0.0
    claims: list[Found] = []

    async def then_sleep(connection: Any, who: Claimant) -> Found:
        nonlocal asleep_s
        claims.append(await claim(connection, who))
        if len(claims) == 1:
            asleep_s = execution.LEASE_MARGIN_S + 1
            if taken_over:
                await rig.sql(
                    "UPDATE effects SET executor = 'another', status = 'done', result = '7'"
                )
        return claims[-1]

    monkeypatch.setattr(execution, "claim", then_sleep)
    monkeypatch.setattr(execution, "monotonic", lambda: monotonic() + asleep_s)
    result = await rig.result("act", call_id="call_x")
    assert result == (7 if taken_over else {"effect": 1})
    assert len(world.effects) == (0 if taken_over else 1)
    assert len(claims) == 2


async def test_the_fence_rises_during_the_effect(rig: Rig, world: World) -> None:
    world.may_end.clear()
    first = asyncio.create_task(rig.call("act", call_id="call_x"))
    await world.begun.wait()
    await rig.sql("UPDATE threads SET fence = 4")
    await rig.sql("UPDATE runs SET fence = 4")
    second = asyncio.create_task(rig.call("act", call_id="call_x", token=rig.token(fence=4)))
    assert (await rig.refusal("act", call_id="call_x"))[1]["code"] == "fenced"
    world.may_end.set()
    answers = await asyncio.gather(first, second)
    assert [answer.json() for answer in answers] == [{"result": {"effect": 1}}] * 2
    assert len(world.effects) == 1
