"""Tools that fail, hang, or work inside the transaction of the ledger."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import text

from shared.db.engine import engine
from tests.toolsvc.tool_rig import Rig, opened
from tests.toolsvc.tool_world import World
from toolsvc.tool import SqlCall, ToolCall, tool

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


@pytest.fixture
def world() -> World:
    return World()


@pytest_asyncio.fixture
async def rig(database_url: str, world: World) -> AsyncIterator[Rig]:
    async with opened(database_url, *world.tools()) as made:
        yield made


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
    ("exit", 500, "tool_failed"),
    ("be cancelled", 500, "tool_failed"),
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


async def test_a_known_outcome_is_written_down_over_an_outage(rig: Rig) -> None:
    async def cut_all(call: ToolCall) -> str:
        async with call.engine.connect() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    " AND usename = current_user"
                )
            )
        return "done"

    rig.registry.tools["cut_all"] = tool(  # type: ignore[index]
        name="cut_all", description="Cut.", scope="w:w"
    )(cut_all)
    idle = [await rig.engine.connect() for _ in range(4)]
    for connection in idle:
        await connection.execute(text("SELECT 1"))
        await connection.close()  # back into the pool, where the tool cuts it off
    assert await rig.result("cut_all") == "done"
    assert await rig.effects() == [("cut_all", "done")]
