"""A run that ends with questions: they are kept, its thread waits, and claims bring the answers."""

from typing import Any
from uuid import UUID

import pytest

from gateway.store import interrupts, resumes
from shared.protocol.record import ClaimedRun
from tests.toolsvc.record_rig import Person, RecordRig, row, step
from tests.toolsvc.test_retention import SOON, TABLES
from toolsvc.retention.loop import delete_events, delete_journal
from toolsvc.underway import under_way

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


def question(id_: str, **more: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "reason": "tool_call",
        "scope": "run:A:1#0",
        "call_id": f"call_{id_}",
        "agent": "A",
        "tool": "send",
        "arguments": '{"to": "ada"}',
        "digest": f"digest of {id_}",
    } | more


async def asks(rig: RecordRig, person: Person, *ids: str, thread: UUID | None = None) -> ClaimedRun:
    await rig.run(person, thread)
    claimed = await (await rig.runner()).claim()
    end = {"outcome": "interrupted", "asked": [question(one) for one in ids]}
    await rig.committed(claimed, 1, steps=[step("0")], rows=[row(2)], end=end)
    return claimed


async def decide(rig: RecordRig, run: UUID, **decisions: str) -> None:
    """As a gateway does, in the transaction that makes the resuming run."""
    async with rig.services.direct.transaction() as db:
        ended = await resumes.lock(db, run)
        for id_, status in decisions.items():
            interrupts.decide(db, id_, status, None, by="ada@example.com")
        await resumes.resume(db, ended)
        await db.commit()


async def test_what_it_asks_is_kept_in_order_and_comes_once(rig: RecordRig) -> None:
    claimed = await asks(rig, await rig.person(), "b", "a")
    end = {"outcome": "interrupted", "asked": [question("b"), question("a")]}
    await rig.committed(
        claimed, 1, steps=[step("0")], rows=[row(2)], end=end
    )  # its answer was lost
    found = await rig.sql("SELECT * FROM interrupts ORDER BY ordinal")
    assert [(one.id, one.status, one.run_id) for one in found] == [
        ("b", "open", claimed.run),
        ("a", "open", claimed.run),
    ]
    assert (await rig.run_row(claimed.run)).runner_id is None


async def test_nothing_else_goes_on_in_its_thread_until_it_has_ended(rig: RecordRig) -> None:
    ada = await rig.person()
    thread = await rig.thread(ada)
    await rig.run(ada, thread)
    runner = await rig.runner()
    claimed = await runner.claim()
    later = await rig.run(ada, thread, ready=False)
    end = {"outcome": "interrupted", "asked": [question("a")]}
    await rig.committed(claimed, 1, steps=[step("0")], end=end)
    assert not (await rig.run_row(later)).ready
    assert await runner.ask() is None
    await decide(rig, claimed.run, a="approved")
    resumed = await runner.claim()
    assert (resumed.root, resumed.first) == (claimed.run, True)
    await rig.committed(resumed, 1, end={"outcome": "finished"})
    assert (await runner.claim()).run == later


async def test_claims_bring_decisions_also_those_of_runs_before(rig: RecordRig) -> None:
    first = await asks(rig, await rig.person(), "a", "b")
    await decide(rig, first.run, a="approved", b="rejected")
    runner = await rig.runner()
    second = await runner.claim()
    told = {one.call_id: (one.scope, one.digest, one.approved) for one in second.decisions}
    assert told == {
        "call_a": ("run:A:1#0", "digest of a", True),
        "call_b": ("run:A:1#0", "digest of b", False),
    }
    end = {"outcome": "interrupted", "asked": [question("c")]}
    await rig.committed(second, 1, steps=[step("1")], end=end)
    await decide(rig, second.run, c="approved")
    third = await runner.claim()
    assert [one.call_id for one in third.decisions] == ["call_a", "call_b", "call_c"]


async def test_a_rehearsal_knows_the_decisions_and_passes_over_what_nobody_awaits(
    rig: RecordRig,
) -> None:
    first = await asks(rig, await rig.person(), "a")
    other = await asks(rig, await rig.person(), "b")
    await rig.sql("UPDATE interrupts SET status = 'superseded' WHERE id = 'b'")
    await decide(rig, first.run, a="approved")
    found = [one.claimed async for one in under_way(rig.services.direct)]
    assert other.run not in {one.run for one in found if one}
    assert [one.call_id for run in found if run for one in run.decisions] == ["call_a"]


@pytest.mark.parametrize("status", ["open", "superseded"])
async def test_retention_keeps_what_a_run_needs_that_still_waits(
    rig: RecordRig, status: str
) -> None:
    claimed = await asks(rig, await rig.person(), "a")
    await rig.sql("UPDATE interrupts SET status = :status", status=status)
    deleted = await delete_events(rig.services, SOON)
    for table in TABLES:
        deleted += await delete_journal(rig.services, table, SOON)
    assert (deleted == 0) is (status == "open")
    assert bool(await rig.events(claimed.thread)) is (status == "open")
