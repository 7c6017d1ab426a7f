"""The ledger: one effect per call, whoever asks how often and whoever dies."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

import pytest
import pytest_asyncio
from pydantic import Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import engine
from shared.protocol.ids import uuid7
from tests.toolsvc.tool_rig import Rig, opened
from toolsvc.effects import Claimant, EffectKey, Outcome, Standing, claim, settle
from toolsvc.tool import SqlCall, Tool, ToolCall, ToolError, tool
from toolsvc.tool_api import canonical_digest

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


class World:
    """What tools outside our Postgres change, and a gate that holds them."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.keys: list[str] = []
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    def tools(self) -> list[Tool]:
        async def act(call: ToolCall, what: str = "x") -> dict[str, Any]:
            self.effects.append(what)
            self.keys.append(call.idempotency_key)
            self.begun.set()
            await self.may_end.wait()
            return {"effect": len(self.effects)}

        async def refuse(call: ToolCall) -> None:
            self.effects.append("refused")
            raise ToolError("too_many", "There are too many of them.", status=429)

        async def note_then(
            call: SqlCall, how: Annotated[str, Field(description="How it ends.")]
        ) -> str:
            self.effects.append(how)
            await call.connection.execute(
                text("INSERT INTO notes (id, user_id, body) VALUES (:id, :user, :how)"),
                {"id": uuid7(), "user": call.user, "how": how},
            )
            return await _end(call.connection, how)

        return [
            tool(name="act", description="Act.", scope="w:w")(act),
            tool(name="act_again", description="Act.", scope="w:w", idempotent=True)(act),
            tool(name="refuse", description="Refuse.", scope="w:w", on_error="model")(refuse),
            tool(name="note_then", description="Note, then end.", scope="w:w")(note_then),
        ]


async def _end(connection: AsyncConnection, how: str) -> str:
    match how:
        case "refuse":
            raise ToolError("not_now", "Not now.", status=409)
        case "fail":
            raise RuntimeError("the password is hunter2")
        case "hang":
            await connection.execute(text("SELECT pg_sleep(30)"))
        case "sql error":
            await connection.execute(text("SELECT 1/0"))
        case "too large":
            return "x" * 10_000
        case "commit":
            await connection.commit()
        case "not json":
            return "\ud800"
    return how


@pytest.fixture
def world() -> World:
    return World()


@pytest_asyncio.fixture
async def rig(database_url: str, world: World) -> AsyncIterator[Rig]:
    async with opened(database_url, *world.tools()) as made:
        yield made


def claimant(rig: Rig, tool_name: str, *, lease_s: float, call_id: str = "call_x") -> Claimant:
    """Another process that claims `call_x` without arguments."""
    return Claimant(
        claims=rig.claims,
        key=EffectKey(root=rig.claims.root, scope="", call=call_id, digest=canonical_digest({})),
        tool=tool_name,
        idempotent=False,
        executor="another/1",
        lease_s=lease_s,
        asleep_s=10,
    )


@pytest.mark.parametrize("name", ["act", "save_note"])
async def test_fifty_equal_calls_have_one_effect_and_one_answer(
    rig: Rig, world: World, name: str
) -> None:
    arguments = {"text": "milk"} if name == "save_note" else {}
    answers = await asyncio.gather(
        *(rig.call(name, arguments, call_id="call_x") for _ in range(50))
    )
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
    assert len({canonical_digest(each) for each in same}) == 1
    assert len({canonical_digest(each) for each in other}) == len(other)


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


async def test_a_person_settles_what_is_unknown(rig: Rig, world: World) -> None:
    await _claimed_by_the_dead(rig, "act")
    await rig.refusal("act", call_id="call_x")
    await rig.sql("UPDATE effects SET status = 'failed', error_code = 'settled_by_hand'")
    status, error = await rig.refusal("act", call_id="call_x")
    assert (status, error["code"]) == (500, "settled_by_hand")
    await rig.sql("DELETE FROM effects")
    assert await rig.result("act", call_id="call_x") == {"effect": 1}


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


async def test_a_claim_waits_for_a_tool_inside_its_transaction(
    rig: Rig, database_url: str, world: World
) -> None:
    """While `note_then` runs, nobody can raise the fence; its effect is before the claim's."""
    async with engine(database_url) as other, other.connect() as connection:
        calling = asyncio.create_task(rig.call("note_then", {"how": "hang"}))
        locked = text("SELECT FROM threads FOR UPDATE SKIP LOCKED")
        while (await connection.execute(locked)).first() is not None:
            await connection.rollback()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        await connection.rollback()
        assert (
            await connection.execute(text("SELECT FROM threads FOR UPDATE"))
        ).first() is not None
    assert await rig.effects() == []  # cancelled in mid-transaction: nothing was done
    assert await rig.sql("SELECT FROM notes") == []


FAILURES = [
    ("refuse", 409, "not_now"),
    ("fail", 500, "tool_failed"),
    ("sql error", 500, "tool_failed"),
    ("too large", 500, "tool_result_too_large"),
    ("not json", 500, "tool_failed"),
]


@pytest.mark.parametrize(("how", "status", "code"), FAILURES)
async def test_a_tool_that_fails_inside_a_transaction_leaves_its_error_and_nothing_else(
    rig: Rig, world: World, how: str, status: int, code: str
) -> None:
    answers = [await rig.call("note_then", {"how": how}, call_id="call_x") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [status, status]
    assert {answer.json()["error"]["code"] for answer in answers} == {code}
    assert "hunter2" not in "".join(answer.text for answer in answers)
    assert world.effects == [how]
    assert await rig.effects() == [("note_then", "failed")]
    assert await rig.sql("SELECT FROM notes") == []


async def test_a_tool_that_ends_the_transaction_itself_fails(rig: Rig) -> None:
    status, _ = await rig.refusal("note_then", {"how": "commit"})
    assert status == 500
    assert await rig.effects() == [("note_then", "claimed")]  # unknown, once its lease has ended


@pytest.mark.parametrize(("name", "arguments"), [("note_then", {"how": "hang"}), ("act", {})])
async def test_a_tool_that_takes_too_long_fails(
    database_url: str, world: World, name: str, arguments: dict[str, str]
) -> None:
    world.may_end.clear()
    async with opened(database_url, *world.tools(), timeout_s=0.05) as rig:
        answers = [await rig.call(name, arguments, call_id="call_x") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [504, 504]
        assert {answer.json()["error"]["code"] for answer in answers} == {"tool_timeout"}
        assert await rig.effects() == [(name, "failed")]
        assert await rig.sql("SELECT FROM notes") == []
        assert (await rig.call("get_profile")).status_code == 200  # the pool is whole


async def test_postgres_away_in_a_transaction_means_that_nothing_was_done(rig: Rig) -> None:
    async def cut(call: SqlCall) -> str:
        await call.connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return "never"

    cutting = tool(name="cut", description="Cut.", scope="w:w")(cut)
    rig.registry.tools["cut"] = cutting  # type: ignore[index]
    answer = await rig.call("cut", call_id="call_x")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert await rig.effects() == []
    assert (await rig.call("get_profile", call_id="call_x")).status_code == 200


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
