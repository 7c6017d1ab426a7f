"""Receipts: made with the end of a run, from what SQL holds, and never changed afterwards."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from shared.chain import BEGINNING
from shared.protocol.record import ClaimedRun
from shared.receipts import canonical, holds
from tests.toolsvc.record_rig import GATEWAY_KEY, RECEIPT_KEY, RecordRig, row

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

FINISHED = {"outcome": "finished"}


async def receipt(rig: RecordRig, run: UUID) -> dict[str, Any]:
    text = (await rig.run_row(run)).receipt
    found: dict[str, Any] = orjson.loads(text)
    assert canonical(found) == text.encode()
    assert holds(found, RECEIPT_KEY.public)
    return found


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_a_receipt_says_what_sql_holds(rig: RecordRig) -> None:
    person = await rig.person()
    run = await rig.run(person)
    claimed = await (await rig.runner()).claim()
    await rig.committed(claimed, rows=[row(2), row(3, "TEXT_MESSAGE_CHUNK", to=9)])
    assert (await rig.run_row(run)).receipt is None
    await rig.committed(claimed, 2, rows=[row(10)], end=FINISHED)
    stored, thread = await rig.run_row(run), await rig.thread_row(claimed.thread)
    found = await receipt(rig, run)
    del found["signature"]
    assert found == {
        "kind": "baton.receipt",
        "version": 1,
        "run": stored.public_id,
        "root": stored.public_id,
        "thread": thread.public_id,
        "agent": "Assistant",
        "agentDigest": "d",
        "status": "finished",
        "startedAt": moment(stored.started_at),
        "endedAt": moment(stored.ended_at),
        "first": "1-1",
        "last": "1-10",
        "rows": 4,
        "before": BEGINNING.hex(),
        "chain": thread.chain.hex(),
        "kid": RECEIPT_KEY.public.id,
    }


async def test_the_next_run_begins_where_the_one_before_ended(rig: RecordRig) -> None:
    person = await rig.person()
    runner = await rig.runner()
    first = await rig.run(person)
    claimed = await runner.claim()
    await rig.committed(claimed, rows=[row(2)], end=FINISHED)
    second = await rig.run(person, claimed.thread)
    await rig.committed(await runner.claim(), end=FINISHED)
    before, after = await receipt(rig, first), await receipt(rig, second)
    assert (after["before"], after["first"], after["last"]) == (before["chain"], "2-1", "2-1")
    assert after["rows"] == 1


async def test_all_claims_of_a_run_are_in_its_receipt(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    claimed = await (await rig.runner()).claim()
    await rig.committed(claimed, rows=[row(2)])
    for name in ("r2", "r3"):  # the second dies before its first commit
        await rig.sql("UPDATE runners SET lease_until = now() - interval '1 s'")
        await rig.sql("UPDATE runs SET deaths = 0")  # else it would go to a process of its own
        claimed = await (await rig.runner(name)).claim(run)
    tail = [[1, 3, "CUSTOM", row(3)[3]]]
    await rig.committed(claimed, tail=tail, rows=[row(2)], end=FINISHED)
    found = await receipt(rig, run)
    assert (found["first"], found["last"], found["rows"]) == ("1-1", "3-2", 6)
    assert found["chain"] == (await rig.thread_row(claimed.thread)).chain.hex()
    assert await rig.chain_holds(claimed.thread)
    rows = await rig.events(claimed.thread)
    assert {one.run_id for one in rows} == {run}
    assert len(rows) == found["rows"]


async def test_runs_of_a_thread_are_consecutive_in_its_chain(rig: RecordRig) -> None:
    person = await rig.person()
    runner = await rig.runner()
    runs = [await rig.run(person)]
    claimed = await runner.claim()
    runs += [await rig.run(person, claimed.thread, ready=False) for _ in range(2)]
    for number, run in enumerate(runs):
        if number == 1:
            await rig.sql("UPDATE runners SET lease_until = now() - interval '1 s'")
            runner = await rig.runner("other")
            claimed = await runner.claim(run)
            await rig.committed(claimed, tail=[], rows=[row(2)], end=FINISHED)
        else:
            await rig.committed(claimed, rows=[row(2)], end=FINISHED)
        if run != runs[-1]:
            claimed = await runner.claim()
    owners = [one.run_id for one in await rig.events(claimed.thread)]
    assert owners == sorted(owners, key=runs.index)
    chain = BEGINNING.hex()
    for run in runs:
        found = await receipt(rig, run)
        assert found["before"] == chain
        chain = found["chain"]
    assert chain == (await rig.thread_row(claimed.thread)).chain.hex()


async def test_a_run_that_toolsvc_ends_has_a_receipt_too(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    claimed = await (await rig.runner()).claim()
    await rig.publish(claimed, range(2, 4), starts=True)
    await rig.cancel(run)
    await rig.post(f"/runs/{run}/close", {}, GATEWAY_KEY)
    await rig.closings()
    found = await receipt(rig, run)
    assert (found["status"], found["first"]) == ("cancelled", "1-1")
    assert found["rows"] == len(await rig.events(claimed.thread))
    assert found["chain"] == (await rig.thread_row(claimed.thread)).chain.hex()


async def test_a_repeated_end_keeps_the_receipt(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    claimed: ClaimedRun = await (await rig.runner()).claim()
    await rig.committed(claimed, rows=[row(2)], end=FINISHED)
    before = await receipt(rig, run)
    await rig.committed(claimed, rows=[row(2)], end=FINISHED)
    assert await receipt(rig, run) == before


async def test_without_a_key_runs_end_all_the_same(rig: RecordRig) -> None:
    rig.app.state.services = replace(rig.services, receipt_key=None)
    run = await rig.run(await rig.person())
    claimed = await (await rig.runner()).claim()
    await rig.committed(claimed, rows=[row(2)], end=FINISHED)
    stored = await rig.run_row(run)
    assert (stored.status, stored.receipt) == ("finished", None)
