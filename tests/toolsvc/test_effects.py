"""The ledger: one effect per call, whoever asks how often and whoever dies."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import httpx
import pytest
import pytest_asyncio

from shared.protocol.ids import uuid7
from tests.toolsvc.tool_rig import Rig, opened
from tests.toolsvc.tool_world import World
from toolsvc.calling import canonical_json
from toolsvc.effects import Claimant, EffectKey, Outcome, Standing, claim, settle

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


@pytest.fixture
def world() -> World:
    return World()


@pytest_asyncio.fixture
async def rig(database_url: str, world: World) -> AsyncIterator[Rig]:
    async with opened(database_url, *world.tools()) as made:
        yield made


def claimant(
    rig: Rig,
    tool_name: str,
    *,
    lease_s: float,
    call_id: str = "call_x",
    executor: str = "another/1",
) -> Claimant:
    """Another process that claims `call_x` without arguments."""
    return Claimant(
        claims=rig.claims,
        key=EffectKey(root=rig.claims.root, scope="", call=call_id, digest=sha256(b"{}").digest()),
        tool=tool_name,
        idempotent=False,
        arguments="{}",
        executor=executor,
        lease_s=lease_s,
        asleep_s=10,
    )


@pytest.mark.parametrize("name", ["act", "save_note"])
async def test_fifty_equal_calls_have_one_effect_and_one_answer(
    rig: Rig, world: World, name: str
) -> None:
    arguments = {"text": "milk"} if name == "save_note" else {}

    async def call() -> httpx.Response:
        """As runners do it: who gets none of the five connections in time comes again."""
        while (answer := await rig.call(name, arguments, call_id="call_x")).status_code == 503:
            assert "retry-after" in answer.headers
        return answer

    answers = await asyncio.gather(*(call() for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert sum("baton-replayed" in answer.headers for answer in answers) == 49
    assert await rig.effects() == [(name, "done")]
    assert len(await rig.sql("SELECT FROM notes")) + len(world.effects) == 1


async def test_what_differs_in_any_part_of_the_key_is_another_call(rig: Rig, world: World) -> None:
    for headers in ({}, {"baton_scope": "Researcher#1/x"}):
        for call_id in ("call_1", "call_2"):
            for what in ("a", "b"):
                await rig.result("act", {"what": what}, call_id=call_id, **headers)
    assert len(world.effects) == len(set(world.keys)) == 8


async def test_the_order_of_keys_and_how_the_text_is_written_do_not_matter() -> None:
    same: list[dict[str, Any]] = [
        {"a": 1, "b": {"c": "é", "d": [1, 2]}},
        {"b": {"d": [1, 2], "c": "\u00e9"}, "a": 1},
    ]
    other: list[dict[str, Any]] = [{"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": None}, {}, {"A": 1}]
    assert len({canonical_json(each) for each in same}) == 1
    assert len({canonical_json(each) for each in other}) == len(other)


async def test_a_repeat_waits_while_the_executor_lives(rig: Rig, world: World) -> None:
    world.may_end.clear()
    first = asyncio.create_task(rig.call("act", call_id="call_x"))
    await world.begun.wait()
    second = asyncio.create_task(rig.call("act", call_id="call_x"))
    assert not (await asyncio.wait({second}, timeout=0.05))[0]
    world.may_end.set()
    answers = await asyncio.gather(first, second)
    assert [answer.json() for answer in answers] == [{"result": {"effect": 1}}] * 2
    assert "baton-replayed" in answers[1].headers


async def test_a_repeat_gets_the_stored_error_too(rig: Rig, world: World) -> None:
    answers = [await rig.call("refuse", call_id="call_x") for _ in range(2)]
    errors = [answer.json()["error"] for answer in answers]
    for error in errors:
        assert error.pop("requestId").startswith("req_")
        assert error == {
            "code": "too_many",
            "message": "There are too many of them.",
            "onError": "model",
        }
    assert [answer.status_code for answer in answers] == [429, 429]
    assert world.effects == ["refused"]
    assert [answer.headers.get("baton-replayed") for answer in answers] == [None, "1"]


async def _claimed_by_the_dead(rig: Rig, name: str) -> None:
    async with rig.engine.begin() as connection:
        found = await claim(connection, claimant(rig, name, lease_s=-1))
    assert found.standing is Standing.MINE


async def test_what_a_dead_executor_began_is_unknown(rig: Rig, world: World) -> None:
    await _claimed_by_the_dead(rig, "act")
    for _ in range(2):
        status, error = await rig.refusal("act", call_id="call_x")
        assert (status, error["code"]) == (409, "tool_outcome_unknown")
    assert world.effects == []
    assert await rig.effects() == [("act", "unknown")]


async def test_what_a_dead_executor_began_is_run_again_where_it_is_idempotent(
    rig: Rig, world: World
) -> None:
    await _claimed_by_the_dead(rig, "act_again")
    answers = await asyncio.gather(*(rig.call("act_again", call_id="call_x") for _ in range(10)))
    assert {answer.text for answer in answers} == {'{"result":{"effect":1}}'}
    assert await rig.effects() == [("act_again", "done")]


async def test_an_executor_that_was_only_slow_still_settles_what_it_knows(rig: Rig) -> None:
    late = claimant(rig, "act", lease_s=-1)
    await _claimed_by_the_dead(rig, "act")
    assert (await rig.refusal("act", call_id="call_x"))[0] == 409
    async with rig.engine.begin() as connection:
        assert await settle(connection, late, Outcome(result='"late"'))
        assert not await settle(connection, late, Outcome(result='"later still"'))
    assert await rig.result("act", call_id="call_x") == "late"


FENCED = {
    "the thread was claimed again": "UPDATE threads SET fence = fence + 1",
    "the run was given to another claim": "UPDATE runs SET fence = fence + 1",
    "the run ended": "UPDATE runs SET status = 'finished'",
    "the run waits": "UPDATE runs SET status = 'queued'",
}


@pytest.mark.parametrize("how", FENCED)
@pytest.mark.parametrize("name", ["act", "get_profile"])
async def test_a_runner_that_was_overtaken_has_no_effect(
    rig: Rig, world: World, name: str, how: str
) -> None:
    await rig.result(name, call_id="call_done")
    await rig.sql(FENCED[how])
    for call_id in ("call_done", "call_new"):
        status, error = await rig.refusal(name, call_id=call_id)
        assert (status, error["code"]) == (409, "fenced")
    assert len(await rig.effects()) == 1
    assert len(world.effects) <= 1


@pytest.mark.parametrize("part", ["run", "root", "thread", "user", "fence"])
async def test_a_token_whose_parts_do_not_belong_together_has_no_effect(
    rig: Rig, part: str
) -> None:
    token = rig.token(**{part: 9 if part == "fence" else uuid7()})
    assert (await rig.refusal("act", token=token))[1]["code"] == "fenced"
    assert await rig.effects() == []


async def test_the_successor_finds_what_its_predecessor_did(rig: Rig, world: World) -> None:
    first = await rig.result("act", call_id="call_x")
    await rig.sql("UPDATE threads SET fence = 4")
    await rig.sql("UPDATE runs SET fence = 4")
    assert await rig.result("act", call_id="call_x", token=rig.token(fence=4)) == first
    assert len(world.effects) == 1


async def test_a_resume_finds_what_its_root_did(rig: Rig, world: World) -> None:
    await rig.result("act", call_id="call_x")
    resume = uuid7()
    await rig.sql(
        "INSERT INTO runs (id, public_id, user_id, thread_id, root_id, agent, status, ready,"
        " priority, input, input_digest, fence, commits) SELECT :resume, 'run_2', user_id,"
        " thread_id, root_id, agent, 'running', true, 0, '{}', '', fence, 0 FROM runs",
        resume=resume,
    )
    await rig.result("act", call_id="call_x", token=rig.token(run=resume))
    assert len(world.effects) == 1


async def test_a_key_stays_the_same_and_is_different_for_every_call() -> None:
    key = EffectKey(root=uuid7(), scope="a/b", call="c", digest=b"d")
    others = [
        replace(key, root=uuid7()),
        replace(key, scope="a", call="/bc"),
        replace(key, scope="a/bc", call=""),
        replace(key, digest=b"e"),
    ]
    assert replace(key).as_text == key.as_text
    assert len({each.as_text for each in [key, *others]}) == 5
    assert -(2**63) <= key.lock < 2**63
