"""Commits: in order, once, by the right claim only; and the chain over everything stored."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.protocol.record import ClaimedRun
from tests.toolsvc.record_rig import (
    FINISHED,
    RecordRig,
    everything,
    row,
    span,
    step,
    taken_over,
)
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


# ------------------------------------------------------------------------------ in order, once
async def test_a_commit_stores_events_steps_and_spans_together(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    answer = await rig.committed(
        claimed,
        rows=[row(2), row(3, "TEXT_MESSAGE_CHUNK", to=9), row(10)],
        steps=[step("0")],
        spans=[span("s1")],
    )
    assert answer == {"cancelled": False}
    assert await rig.positions(claimed.thread) == [
        (1, 1, 1, "RUN_STARTED"),
        (1, 2, 2, "CUSTOM"),
        (1, 3, 9, "TEXT_MESSAGE_CHUNK"),
        (1, 10, 10, "CUSTOM"),
    ]
    state = await rig.thread_row(claimed.thread)
    assert (state.last_fence, state.last_seq) == (1, 10)
    assert await rig.chain_holds(claimed.thread)
    await rig.committed(
        claimed, 2, rows=[row(11)], steps=[step("1")], spans=[span("s1", ended=True)]
    )
    ordinals = await rig.sql("SELECT place, ordinal FROM steps ORDER BY ordinal")
    assert ordinals == [("0", 1), ("1", 2)]
    (stored,) = await rig.sql("SELECT * FROM spans")
    assert stored.ended_at is not None


async def test_an_identical_repeat_is_answered_and_nothing_is_doubled(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    sent: dict[str, Any] = {"rows": [row(2)], "steps": [step("0")], "spans": [span("s1")]}
    await rig.committed(claimed, **sent)
    before = await everything(rig)
    await rig.committed(claimed, **sent)
    assert await everything(rig) == before


@pytest.mark.parametrize("end", [None, FINISHED])
async def test_a_commit_that_comes_twice_at_once_is_stored_once(
    rig: RecordRig, claimed: ClaimedRun, end: dict[str, Any] | None
) -> None:
    """Both wait for the thread's row, and the second must not see the run as it was before."""
    more: dict[str, Any] = {"rows": [row(2)], "steps": [step("0")]} | ({"end": end} if end else {})
    async with held(rig, claimed.thread) as release:
        both = [asyncio.create_task(rig.commit(claimed, **more)) for _ in range(2)]
        await waiting(rig, 2)
        await release()
        answers = await asyncio.gather(*both)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(await rig.sql("SELECT * FROM steps")) == 1


async def test_a_changed_repeat_is_a_conflict(rig: RecordRig, claimed: ClaimedRun) -> None:
    await rig.committed(claimed, rows=[row(2)])
    before = await everything(rig)
    assert await rig.refusal(claimed, rows=[row(2), row(3)]) == (409, "conflict")
    assert await everything(rig) == before


async def test_the_finish_may_be_repeated_even_after_the_next_run_began(rig: RecordRig) -> None:
    ada = await rig.person()
    thread = await rig.thread(ada)
    await rig.run(ada, thread)
    await rig.run(ada, thread, ready=False)
    runner = await rig.runner()
    first = await runner.claim()
    sent: dict[str, Any] = {"rows": [row(2, "RUN_FINISHED")], "end": FINISHED}
    await rig.committed(first, **sent)
    await rig.committed(first, **sent)
    await runner.claim()
    before = await everything(rig)
    await rig.committed(first, **sent)
    assert await everything(rig) == before
    assert await rig.refusal(first, 2, rows=[row(3)]) == (409, "fenced")


async def test_a_run_that_is_given_away_may_be_taken_at_once(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    """While the runner that leaves it still carries others, and its lease lives."""
    await rig.committed(claimed, rows=[row(2)], steps=[step("0")], leaves=True)
    assert claimed.run in await rig.rung()
    other = await rig.runner()
    again = await other.claim(claimed.run)
    assert (again.run, again.fence, len(again.journal)) == (claimed.run, 2, 1)
    assert await rig.sql("SELECT deaths FROM runs") == [(0,)]
    assert await rig.refusal(claimed, 2, rows=[row(3)]) == (409, "fenced")


GAPS: dict[str, tuple[int, dict[str, Any]]] = {
    "a commit left out": (2, {"rows": [row(2)]}),
    "an event left out": (1, {"rows": [row(3)]}),
    "an event left out inside": (1, {"rows": [row(2), row(4)]}),
    "an event twice": (1, {"rows": [row(2), row(2)]}),
    "the start row again": (1, {"rows": [row(1)]}),
    "a joined row that ends before it begins": (1, {"rows": [row(5, to=4)]}),
    "a tail at a first claim": (1, {"tail": []}),
}


@pytest.mark.parametrize("case", GAPS)
async def test_a_gap_is_refused_and_the_right_commit_still_taken(
    rig: RecordRig, claimed: ClaimedRun, case: str
) -> None:
    n, sent = GAPS[case]
    before = await everything(rig)
    assert await rig.refusal(claimed, n, **sent) == (409, "gap")
    assert await everything(rig) == before
    await rig.committed(claimed, rows=[row(2)])


async def test_a_step_that_is_recorded_already_is_a_conflict(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    await rig.committed(claimed, steps=[step("0")])
    before = await everything(rig)
    assert await rig.refusal(claimed, 2, rows=[row(2)], steps=[step("0")]) == (409, "conflict")
    assert await everything(rig) == before


# ------------------------------------------------------------------------------ take-overs
async def test_a_take_overs_first_commit_must_bring_the_tail_and_settles(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    await rig.committed(claimed, rows=[row(2)])
    taken = await taken_over(rig, claimed)
    assert await rig.refusal(taken, rows=[row(2)]) == (409, "gap")
    tail = [[1, 3, "CUSTOM", "{}"], [1, 4, "CUSTOM", "{}"]]
    await rig.committed(taken, tail=tail)
    state = await rig.thread_row(claimed.thread)
    assert (state.settled, state.last_fence, state.last_seq) == (2, 2, 1)
    assert await rig.refusal(taken, 2, tail=[], rows=[row(2)]) == (409, "gap")
    await rig.committed(taken, 2, rows=[row(2)])
    assert [at[:2] for at in await rig.positions(claimed.thread)] == [
        (1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2),
    ]  # fmt: skip
    assert all(one.hash for one in await rig.events(claimed.thread))
    assert await rig.chain_holds(claimed.thread)


TAILS: dict[str, list[list[Any]]] = {
    "an event that is stored": [[1, 2, "CUSTOM", "{}"]],
    "an event before it": [[1, 1, "CUSTOM", "{}"]],
    "events out of order": [[1, 4, "CUSTOM", "{}"], [1, 3, "CUSTOM", "{}"]],
    "one of the own fence": [[2, 2, "CUSTOM", "{}"]],
    "the own start row": [[2, 1, "CUSTOM", "{}"]],
    "one of a fence to come": [[3, 1, "CUSTOM", "{}"]],
}


@pytest.mark.parametrize("case", TAILS)
async def test_a_tail_continues_what_is_stored_or_is_refused(
    rig: RecordRig, claimed: ClaimedRun, case: str
) -> None:
    await rig.committed(claimed, rows=[row(2)])
    taken = await taken_over(rig, claimed)
    before = await everything(rig)
    assert await rig.refusal(taken, tail=TAILS[case]) == (409, "conflict")
    assert await everything(rig) == before


async def test_start_rows_of_claims_that_died_early_enter_the_chain_in_id_order(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    """Claims 2 and 3 died before they settled; 2 had written events that only Redis had."""
    await rig.committed(claimed, rows=[row(2, to=4)])
    await taken_over(rig, claimed, "second")
    await taken_over(rig, claimed, "third")
    fourth = await taken_over(rig, claimed, "fourth")
    assert [(one.fence, one.seq) for one in fourth.starts] == [(1, 1), (2, 1), (3, 1), (4, 1)]
    stolen = [[3, 1, "CUSTOM", "{}"]]
    assert await rig.refusal(fourth, tail=stolen) == (409, "conflict")
    tail = [[1, 5, "CUSTOM", "{}"], [2, 2, "CUSTOM", "{}"], [2, 3, "CUSTOM", "{}"]]
    await rig.committed(fourth, tail=tail, rows=[row(2)])
    assert [at[:3] for at in await rig.positions(claimed.thread)] == [
        (1, 1, 1), (1, 2, 4), (1, 5, 5), (2, 1, 1), (2, 2, 2), (2, 3, 3), (3, 1, 1), (4, 1, 1),
        (4, 2, 2),
    ]  # fmt: skip
    assert all(one.hash for one in await rig.events(claimed.thread))
    assert await rig.chain_holds(claimed.thread)
    await rig.committed(fourth, 2, rows=[row(3)], end=FINISHED)
    assert await rig.chain_holds(claimed.thread)


async def test_the_chain_notices_every_change(rig: RecordRig, claimed: ClaimedRun) -> None:
    await rig.committed(claimed, rows=[row(2), row(3, to=5), row(6)])
    for change in (
        "UPDATE events SET data = '{}' WHERE seq = 3",
        "UPDATE events SET type = 'RAW' WHERE seq = 3",
        "UPDATE events SET seq_to = 4 WHERE seq = 3",
        "DELETE FROM events WHERE seq = 3",
        "DELETE FROM events WHERE seq = 6",
    ):
        kept = await rig.sql("SELECT * FROM events ORDER BY seq")
        await rig.sql(change)
        assert not await rig.chain_holds(claimed.thread), change
        await rig.sql("DELETE FROM events")
        for one in kept:
            await rig.sql(
                "INSERT INTO events VALUES (:thread_id, :fence, :seq, :seq_to, :run_id, :type, "
                ":data, :salt, :digest, :hash)",
                **one._mapping,
            )
    assert await rig.chain_holds(claimed.thread)


# ------------------------------------------------------------------------------ the end
async def test_finish_stores_messages_and_usage_and_calls_for_the_next_run(rig: RecordRig) -> None:
    ada = await rig.person()
    thread = await rig.thread(ada)
    await rig.run(ada, thread)
    later = await rig.run(ada, thread, ready=False)
    last = await rig.run(ada, thread, ready=False)
    claimed = await (await rig.runner()).claim()
    said = [
        {"id": "a1", "role": "assistant", "content": "one"},
        {"id": "t1", "role": "tool", "toolCallId": "c", "content": "two"},
    ]
    usage = [{"model": "m", "inputTokens": 3}]
    end = {"outcome": "finished", "messages": said, "usage": usage}
    await rig.committed(claimed, rows=[row(2, "RUN_FINISHED")], end=end)
    ended = await rig.run_row(claimed.run)
    assert (ended.status, ended.usage, ended.runner_id) == ("finished", usage, None)
    assert ended.ended_at is not None
    stored = await rig.sql("SELECT * FROM messages WHERE id IN ('a1', 't1') ORDER BY ordinal")
    assert [(one.id, one.parent, one.role, one.content) for one in stored] == [
        ("a1", claimed.messages[0]["id"], "assistant", said[0]),
        ("t1", "a1", "tool", said[1]),
    ]
    assert (await rig.thread_row(thread)).head == "t1"
    assert (await rig.run_row(later)).ready
    assert not (await rig.run_row(last)).ready
    assert await rig.rung() == {later}


async def test_a_run_that_is_accepted_while_finish_waits_is_called_for(rig: RecordRig) -> None:
    """Finish looks for the next run when it has the thread's lock, never before."""
    ada = await rig.person()
    thread = await rig.thread(ada)
    await rig.run(ada, thread)
    claimed = await (await rig.runner()).claim()
    async with held(rig, thread) as release:
        finishing = asyncio.create_task(rig.commit(claimed, end=FINISHED))
        await waiting(rig, 1)
        following = await rig.run(ada, thread, ready=False)
        await release()
        assert (await finishing).status_code == 200
    assert (await rig.run_row(following)).ready
    assert following in await rig.rung()


async def test_a_failed_run_keeps_its_reason(rig: RecordRig, claimed: ClaimedRun) -> None:
    end = {"outcome": "failed", "error_code": "upstream_auth", "error_message": "Refused."}
    await rig.committed(claimed, end=end)
    ended = await rig.run_row(claimed.run)
    assert (ended.status, ended.error_code, ended.error_message) == (
        "failed", "upstream_auth", "Refused.",
    )  # fmt: skip
    assert (await rig.thread_row(claimed.thread)).head == claimed.messages[0]["id"]


async def test_every_answer_tells_of_a_cancel(rig: RecordRig, claimed: ClaimedRun) -> None:
    await rig.cancel(claimed.run)
    assert await rig.committed(claimed, rows=[row(2)]) == {"cancelled": True}
    assert await rig.committed(claimed, rows=[row(2)]) == {"cancelled": True}


# ------------------------------------------------------------------------------ at once
@asynccontextmanager
async def held(rig: RecordRig, thread: UUID) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Hold a thread's row, as who changes its runs does, until it is released."""
    async with rig.services.engine.connect() as db:
        await db.execute(
            text("SELECT FROM threads WHERE id = :id FOR NO KEY UPDATE"), {"id": thread}
        )
        yield db.commit


async def waiting(rig: RecordRig, count: int) -> None:
    """Wait until that many wait for a lock."""

    async def wait() -> bool:
        (found,) = await rig.one(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(found == count)

    await until(wait)
