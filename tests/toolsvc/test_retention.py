"""Retention: what is old goes, what lives or waits stays, and what is left can be verified."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
import pytest_asyncio
from sqlalchemy import text

from gateway.store import resumes
from shared.db.line import Statement
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import ClaimedRun
from shared.receipts import holds
from tests.toolsvc.record_rig import (
    RECEIPT_KEY,
    Person,
    RecordRig,
    RunnerDouble,
    row,
    span,
    step,
)
from toolsvc.retention.events import delete_oldest, old_threads
from toolsvc.retention.journal import Table, delete_rows, old_roots
from toolsvc.retention.loop import delete_events, delete_files, delete_journal

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

FINISHED = {"outcome": "finished"}
#: Everything that has ended by now is older than this.
SOON = datetime.now(UTC) + timedelta(hours=1)
TABLES: tuple[Table, ...] = ("steps", "spans", "effects", "files")


@pytest_asyncio.fixture
async def ada(rig: RecordRig) -> Person:
    return await rig.person()


@pytest_asyncio.fixture
async def runner(rig: RecordRig) -> RunnerDouble:
    return await rig.runner()


async def ended(
    rig: RecordRig, runner: RunnerDouble, person: Person, thread: UUID | None = None, **end: Any
) -> ClaimedRun:
    """A run that did one of everything and ended."""
    run = await rig.run(person, thread)
    claimed = await runner.claim()
    assert claimed.run == run
    spans = [span(f"s{run.hex}", ended=True)]
    await rig.committed(claimed, rows=[row(2), row(3, to=7)], steps=[step("0")], spans=spans)
    await effect(rig, run)
    await rig.committed(claimed, 2, rows=[row(8)], end=FINISHED | end)
    return claimed


async def effect(rig: RecordRig, run: UUID) -> None:
    await rig.sql(
        "INSERT INTO effects (root_id, scope, call_id, arguments_digest, run_id, tool, status, "
        "executor, executor_until) VALUES (:run, 's', 'c', '', :run, 't', 'done', 'x', now())",
        run=run,
    )
    await rig.sql(
        "INSERT INTO files (id, user_id, thread_id, root_id, media_type, size, sha256, content) "
        "SELECT gen_random_uuid(), user_id, thread_id, id, 'text/plain', 0, '', '' FROM runs "
        "WHERE id = :run",
        run=run,
    )


async def counted(rig: RecordRig, run: UUID) -> dict[str, int]:
    found = {}
    for table in ("events", *TABLES):
        column = "run_id" if table == "events" else "root_id"
        found[table] = (
            await rig.one(f"SELECT count(*) AS n FROM {table} WHERE {column} = :run", run=run)
        ).n
    return found


async def delete_all(rig: RecordRig, before: datetime = SOON) -> dict[str, int]:
    found = {"events": await delete_events(rig.services, before)}
    for table in TABLES:
        found[table] = await delete_journal(rig.services, table, before)
    return found


async def head(rig: RecordRig, thread: UUID) -> Any:
    return await rig.one("SELECT * FROM heads WHERE thread_id = :thread", thread=thread)


async def ended_at(rig: RecordRig, run: UUID, moment: datetime) -> None:
    await rig.sql("UPDATE runs SET ended_at = :at WHERE id = :run", run=run, at=moment)


async def test_what_ended_long_ago_is_deleted(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    run = await ended(rig, runner, ada)
    one_each = dict.fromkeys(TABLES, 1) | {"events": 4}
    assert await counted(rig, run.run) == one_each
    assert await delete_all(rig) == one_each
    assert set((await counted(rig, run.run)).values()) == {0}
    assert sorted((await rig.run_row(run.run)).forgotten) == ["effects", "files", "spans", "steps"]
    assert await rig.sql("SELECT FROM messages")
    assert set((await delete_all(rig)).values()) == {0}


async def test_a_file_that_nobody_has_sent_goes_after_its_time(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    run = await ended(rig, runner, ada)
    moment = datetime.now(UTC)
    for minutes, name in ((-10, "old"), (-9, "older"), (10, "new")):
        await rig.sql(
            "INSERT INTO files (id, user_id, name, media_type, size, sha256, content, created_at) "
            "SELECT gen_random_uuid(), user_id, :name, 'text/plain', 1, '', 'x', :at FROM runs "
            "WHERE id = :run",
            name=name,
            run=run.run,
            at=moment + timedelta(minutes=minutes),
        )
    async with rig.services.engine.begin() as sending:
        await sending.execute(text("SELECT FROM files WHERE name = 'old' FOR NO KEY UPDATE"))
        assert await delete_files(rig.services, moment) == 1
    assert await delete_files(rig.services, moment) == 1
    assert await delete_files(rig.services, moment) == 0
    # What was sent, or made by a run, belongs to its thread.
    assert sorted(one.name or "" for one in await rig.sql("SELECT name FROM files")) == ["", "new"]


async def test_what_ended_lately_stays(rig: RecordRig, ada: Person, runner: RunnerDouble) -> None:
    old, new = [await ended(rig, runner, ada) for _ in range(2)]
    await ended_at(rig, new.run, SOON + timedelta(seconds=1))
    await delete_all(rig)
    assert set((await counted(rig, old.run)).values()) == {0}
    assert 0 not in (await counted(rig, new.run)).values()


@pytest.mark.parametrize("state", ["queued", "running", "interrupted"])
async def test_nothing_goes_of_a_run_that_lives_or_waits_nor_of_its_root(
    rig: RecordRig, ada: Person, runner: RunnerDouble, state: str
) -> None:
    root = await ended(rig, runner, ada, outcome="failed", error_code="agent_error")
    resume = await rig.run(ada, root.thread)
    name = (await rig.run_row(root.run)).public_id
    await rig.sql(
        "UPDATE runs SET root_id = :root, resumes = :name, status = :state, "
        "ended_at = CASE WHEN :state = 'interrupted' THEN now() END WHERE id = :run",
        root=root.run,
        name=name,
        state=state,
        run=resume,
    )
    assert set((await delete_all(rig)).values()) == {0}
    await rig.sql("UPDATE runs SET status = 'finished', ended_at = now() WHERE id = :r", r=resume)
    assert 0 not in (await delete_all(rig)).values()


async def test_a_run_waits_whose_tool_call_has_to_be_settled(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    run = await ended(rig, runner, ada, outcome="failed", error_code="tool_outcome_unknown")
    assert set((await delete_all(rig)).values()) == {0}
    assert 0 not in (await counted(rig, run.run)).values()


async def test_an_interrupted_run_that_was_resumed_waits_no_more(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    root = await ended(rig, runner, ada)
    resume = await ended(rig, runner, ada, root.thread)
    name = (await rig.run_row(root.run)).public_id
    await rig.sql("UPDATE runs SET status = 'interrupted' WHERE id = :run", run=root.run)
    assert await delete_journal(rig.services, "steps", SOON) == 1  # that of the other root
    await rig.sql(
        "UPDATE runs SET root_id = :root, resumes = :name WHERE id = :run",
        root=root.run,
        name=name,
        run=resume.run,
    )
    assert await delete_journal(rig.services, "steps", SOON) == 1


async def test_events_go_from_the_beginning_of_a_thread_on(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    """A run in between that is too young keeps all later ones: the chain has no holes."""
    first = await ended(rig, runner, ada)
    others = [await ended(rig, runner, ada, first.thread) for _ in range(3)]
    await ended_at(rig, others[1].run, SOON + timedelta(seconds=1))
    assert await delete_events(rig.services, SOON) == 8
    left = {one.run_id for one in await rig.events(first.thread)}
    assert left == {others[1].run, others[2].run}


async def test_the_head_is_signed_and_the_chain_goes_on_from_it(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    first = await ended(rig, runner, ada)
    receipt = orjson.loads((await rig.run_row(first.run)).receipt)
    await delete_events(rig.services, SOON)
    kept = await head(rig, first.thread)
    said = orjson.loads(kept.signed)
    assert holds(said, RECEIPT_KEY.public)
    assert (kept.fence, kept.seq, kept.rows) == (1, 8, 4)
    assert (said["kind"], said["last"], said["rows"]) == ("baton.head", "1-8", 4)
    assert said["chain"] == kept.hash.hex() == receipt["chain"]

    second = await ended(rig, runner, ada, first.thread)
    later = orjson.loads((await rig.run_row(second.run)).receipt)
    assert later["before"] == receipt["chain"]
    assert later["rows"] == 4
    third = await ended(rig, runner, ada, first.thread)
    await ended_at(rig, third.run, SOON + timedelta(seconds=1))
    await delete_events(rig.services, SOON)
    kept = await head(rig, first.thread)
    assert (kept.rows, kept.hash.hex()) == (8, later["chain"])
    last = orjson.loads((await rig.run_row(third.run)).receipt)
    assert last["before"] == kept.hash.hex()


async def test_without_a_key_the_head_is_kept_unsigned(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    run = await ended(rig, runner, ada)
    await delete_events(replace(rig.services, receipt_key=None), SOON)
    assert (await head(rig, run.thread)).signed is None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET data = '{}' WHERE seq = 2",
        "UPDATE events SET type = 'RAW' WHERE seq = 2",
        "DELETE FROM events WHERE seq = 2",
    ],
)
async def test_what_somebody_altered_is_kept_and_not_vouched_for(
    rig: RecordRig, ada: Person, runner: RunnerDouble, change: str
) -> None:
    run = await ended(rig, runner, ada)
    await rig.sql(change)
    assert await delete_events(rig.services, SOON) == 0
    assert not await rig.sql("SELECT FROM heads WHERE thread_id = :t", t=run.thread)


async def test_erased_rows_do_not_keep_the_others(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    await ended(rig, runner, ada)
    await rig.sql("UPDATE events SET data = '', salt = '' WHERE seq = 2")
    assert await delete_events(rig.services, SOON) == 4


async def test_batches_are_bounded_and_many_instances_may_delete_at_once(
    rig: RecordRig, ada: Person, runner: RunnerDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [await ended(rig, runner, ada) for _ in range(3)]
    runs.append(await ended(rig, runner, ada, runs[0].thread))
    for module in ("events", "journal"):
        monkeypatch.setattr(f"toolsvc.retention.{module}.MOST_ROWS", 3)
        monkeypatch.setattr(f"toolsvc.retention.{module}.PAGE", 2)
    assert await delete_oldest(rig.services.engine, runs[0].thread, SOON, RECEIPT_KEY) == 3
    deleted = await asyncio.gather(*(delete_all(rig) for _ in range(4)))
    deleted.append(await delete_all(rig))  # what they have left because another held its thread
    assert sum(one["events"] for one in deleted) == 16 - 3
    assert {table: sum(one[table] for one in deleted) for table in TABLES} == dict.fromkeys(
        TABLES, 4
    )
    kept = await head(rig, runs[0].thread)
    assert (kept.rows, kept.hash) == (8, (await rig.thread_row(runs[0].thread)).chain)


async def test_a_thread_that_somebody_holds_is_left_for_later(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    await ended(rig, runner, ada)
    async with rig.services.direct.transaction() as db:
        await db.all(Statement("SELECT id FROM threads FOR NO KEY UPDATE")())
        assert set((await delete_all(rig)).values()) == {0}
    assert 0 not in (await delete_all(rig)).values()


async def test_a_run_under_way_in_the_same_thread_goes_on(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    first = await ended(rig, runner, ada)
    run = await rig.run(ada, first.thread)
    claimed = await runner.claim()
    await rig.committed(claimed, rows=[row(2)])
    assert await delete_events(rig.services, SOON) == 4
    await rig.committed(claimed, 2, rows=[row(3)], end=FINISHED)
    before = orjson.loads((await rig.run_row(first.run)).receipt)["chain"]
    found = orjson.loads((await rig.run_row(run)).receipt)
    assert (found["before"], found["rows"]) == (before, 3)


async def test_rows_of_nobody_do_not_stop_it(rig: RecordRig) -> None:
    """No such thread, no such root: there is nothing to lock, so nothing is done."""
    nobody = UUID(int=7)
    assert await delete_oldest(rig.services.engine, nobody, SOON, RECEIPT_KEY) == 0
    assert await delete_rows(rig.services.engine, "steps", nobody, SOON) == 0


async def test_what_was_made_after_the_moment_is_not_even_looked_at(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    run = await ended(rig, runner, ada)
    long_ago = datetime.now(UTC) - timedelta(days=2)
    await ended_at(rig, run.run, long_ago)  # the gateway's clock and the database's disagree
    assert [one async for one in old_threads(rig.services.engine, long_ago)] == []
    assert [one async for one in old_roots(rig.services.engine, "steps", long_ago)] == []
    assert [one async for one in old_roots(rig.services.engine, "steps", SOON)] == [run.run]


async def test_a_run_without_its_journal_cannot_be_resumed(
    rig: RecordRig, ada: Person, runner: RunnerDouble
) -> None:
    run = await ended(rig, runner, ada, outcome="failed", error_code="agent_error")
    await delete_events(rig.services, SOON)
    await delete_journal(rig.services, "spans", SOON)

    async def resume() -> None:
        async with rig.services.direct.transaction() as db:
            await resumes.resume(db, await resumes.lock(db, run.run))
            await db.roll_back()

    await resume()
    await delete_journal(rig.services, "steps", SOON)
    with pytest.raises(BatonError) as refused:
        await resume()
    assert refused.value.code is Code.GONE
