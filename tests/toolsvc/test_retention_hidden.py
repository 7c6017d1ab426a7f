"""Hidden threads go with all they have, once nobody can have a use for them any more."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import text

from shared.protocol.record import ClaimedRun
from tests.toolsvc.record_rig import Person, RecordRig, RunnerDouble
from tests.toolsvc.test_retention import SOON, ended, ended_at
from toolsvc.retention import hidden, journal
from toolsvc.retention.loop import delete_hidden_threads
from toolsvc.retention.waiting import made_before

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

#: Tables in which a thread may have rows, and by what.
BY_THREAD = ("messages", "runs", "events", "heads", "files", "interrupts")
BY_ROOT = ("steps", "spans", "effects")


@pytest_asyncio.fixture
async def ada(rig: RecordRig) -> Person:
    return await rig.person()


@pytest_asyncio.fixture
async def runner(rig: RecordRig) -> RunnerDouble:
    return await rig.runner()


async def hidden_one(
    rig: RecordRig, runner: RunnerDouble, person: Person, thread: UUID | None = None, **end: Any
) -> ClaimedRun:
    """A run that did one of everything and ended, on a thread that nobody lists."""
    run = await ended(rig, runner, person, thread, **end)
    await rig.sql("UPDATE threads SET hidden = true WHERE id = :thread", thread=run.thread)
    return run


async def left(rig: RecordRig, run: ClaimedRun) -> dict[str, int]:
    """How many rows a run and its thread have left, where they have any."""
    found = {"threads": await rig.sql("SELECT FROM threads WHERE id = :id", id=run.thread)}
    for table in BY_THREAD:
        found[table] = await rig.sql(f"SELECT FROM {table} WHERE thread_id = :id", id=run.thread)
    for table in BY_ROOT:
        found[table] = await rig.sql(f"SELECT FROM {table} WHERE root_id = :id", id=run.run)
    return {table: len(rows) for table, rows in found.items() if rows}


async def test_it_goes_with_all_it_has_and_nothing_else_does(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    listed, secret = await ended(rig, runner, ada), await hidden_one(rig, runner, ada)
    before = await left(rig, listed)
    assert before == await left(rig, secret)
    assert {"events", "files", "messages", "runs", *BY_ROOT} <= before.keys()
    assert await delete_hidden_threads(rig.services, SOON) == 1
    assert await left(rig, secret) == {}
    assert await left(rig, listed) == before
    assert await delete_hidden_threads(rig.services, SOON) == 0


async def test_one_that_was_deleted_before_goes_too(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    run = await hidden_one(rig, runner, ada)
    await rig.sql("UPDATE threads SET deleted_at = now()")
    assert await delete_hidden_threads(rig.services, SOON) == 1
    assert await left(rig, run) == {}


@pytest.mark.parametrize("state", ["queued", "running", "interrupted", "finished"])
async def test_it_stays_while_a_run_of_it_goes_on_waits_or_has_ended_lately(
    rig: RecordRig, ada: Person, runner: RunnerDouble, state: str
) -> None:
    old = await hidden_one(rig, runner, ada)
    new = await hidden_one(rig, runner, ada, old.thread)
    await rig.sql("UPDATE runs SET status = :state WHERE id = :run", state=state, run=new.run)
    lately = SOON + timedelta(seconds=1 if state == "finished" else -7200)
    await ended_at(rig, new.run, lately)
    before = await left(rig, old), await left(rig, new)
    assert await delete_hidden_threads(rig.services, SOON) == 0
    assert (await left(rig, old), await left(rig, new)) == before
    await rig.sql("UPDATE runs SET status = 'finished', ended_at = now()")
    assert await delete_hidden_threads(rig.services, SOON) == 1
    assert (await left(rig, old), await left(rig, new)) == ({}, {})


async def test_a_question_that_was_called_off_keeps_nothing(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    run = await hidden_one(rig, runner, ada)
    await rig.sql("UPDATE runs SET status = 'interrupted'")
    await rig.sql(
        "INSERT INTO interrupts (id, run_id, thread_id, root_id, ordinal, reason, tool, agent, "
        "scope, call_id, arguments, digest, status) VALUES "
        "('int_1', :run, :thread, :run, 0, 'tool_call', 't', 'A', '', 'c', '{}', '', 'open')",
        run=run.run,
        thread=run.thread,
    )
    assert await delete_hidden_threads(rig.services, SOON) == 0
    await rig.sql("UPDATE interrupts SET status = 'superseded'")
    assert await delete_hidden_threads(rig.services, SOON) == 1
    assert await left(rig, run) == {}


async def test_what_there_is_much_of_goes_batch_by_batch(
    rig: RecordRig, ada: Person, runner: RunnerDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_ROWS", 2)
    run = await hidden_one(rig, runner, ada)
    await rig.sql(
        "INSERT INTO effects (root_id, scope, call_id, arguments_digest, run_id, tool, status, "
        "executor, executor_until) SELECT :run, 's', 'c' || n, '', :run, 't', 'done', 'x', now() "
        "FROM generate_series(1, 3) AS n",
        run=run.run,
    )
    done: list[tuple[str, int]] = []
    while not done or done[-1][1]:
        done.append(await hidden.delete_batch(rig.services.engine, run.thread, SOON, None))
    assert [one for one in done if one[0] == "effects"] == [("effects", 2), ("effects", 2)]
    assert done[-2:] == [("threads", 1), ("threads", 0)]
    assert await left(rig, run) == {}


async def test_one_that_somebody_holds_is_left_for_later(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    run = await hidden_one(rig, runner, ada)
    async with rig.services.engine.begin() as holding:
        lock = text("SELECT FROM threads WHERE id = :id FOR NO KEY UPDATE")
        await holding.execute(lock, {"id": run.thread})
        assert await delete_hidden_threads(rig.services, SOON) == 0
    assert await delete_hidden_threads(rig.services, SOON) == 1


async def test_what_somebody_altered_is_kept_with_its_thread(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    run = await hidden_one(rig, runner, ada)
    await rig.sql("""UPDATE events SET data = '{"type":"CUSTOM"}' WHERE seq = 2""")
    assert await delete_hidden_threads(rig.services, SOON) == 0
    assert {"threads", "runs", "messages", "events"} <= (await left(rig, run)).keys()


async def test_idle_threads_are_not_even_looked_at(rig: RecordRig, ada: Person) -> None:
    """Made after the moment, or listed: however many there are, the index passes them by."""
    await rig.sql(
        "INSERT INTO threads (id, user_id, public_id, agent, hidden) "
        "SELECT CAST('ff' || substr(gen_random_uuid()::text, 3) AS uuid), :user, 'thr_' || n, 'A', "
        "n % 2 = 0 FROM generate_series(1, 4000) AS n",
        user=ada.id,
    )
    await rig.sql("ANALYZE threads")
    page = str(hidden._PAGE)
    given = {"after": UUID(int=0), "young": made_before(SOON), "page": 100}
    ((plan,),) = await rig.sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {page}", **given)
    scan = plan[0]["Plan"]["Plans"][0]
    assert scan["Index Name"] == "threads_hidden"
    assert scan["Actual Rows"] == 0
    assert scan["Shared Hit Blocks"] + scan["Shared Read Blocks"] <= 5
