"""A run that resumes another one: made once, claimed with what was left, ended on the path."""

import asyncio
from typing import Any
from uuid import UUID

import orjson
import pytest

from gateway.store import resumes
from gateway.store.resumes import Resumed
from shared.db.path import read_path
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import ClaimedRun
from tests.toolsvc.record_rig import Person, RecordRig, row, step

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


def message(id_: str, content: str = "text") -> dict[str, str]:
    return {"id": id_, "role": "assistant", "content": content}


def end(outcome: str, *ids: str, **more: Any) -> dict[str, Any]:
    return {"outcome": outcome, "messages": [message(id_) for id_ in ids], **more}


async def failed(rig: RecordRig, person: Person, thread: UUID | None = None) -> ClaimedRun:
    """A run with one finished step that ended in the middle of a text."""
    await rig.run(person, thread)
    claimed = await (await rig.runner()).claim()
    ending = end("failed", "m1", "half", error_code="tool_outcome_unknown")
    await rig.committed(claimed, 1, steps=[step("0")], rows=[row(2), row(3)], end=ending)
    return claimed


async def resume(rig: RecordRig, run: UUID) -> Resumed:
    async with rig.services.direct.transaction() as db:
        made = await resumes.resume(db, await resumes.lock(db, run))
        await db.commit()
    return made


async def path(rig: RecordRig, thread: UUID) -> list[str]:
    head = (await rig.thread_row(thread)).head
    async with rig.services.engine.connect() as db:
        return [one["id"] for one in (await read_path(db, thread, head, 100)).messages]


async def test_it_is_made_once_and_finds_what_was_left(rig: RecordRig) -> None:
    first = await failed(rig, await rig.person())
    made = await asyncio.gather(*(resume(rig, first.run) for _ in range(5)))
    assert sorted(one.created for one in made) == [False] * 4 + [True]
    assert len({one.key for one in made}) == 1
    claimed = await (await rig.runner()).claim()
    asked = first.messages[0]["id"]
    assert (claimed.run, claimed.root, claimed.first) == (made[0].key, first.run, True)
    assert [one.place for one in claimed.journal] == ["0"]
    assert (claimed.history, claimed.messages, claimed.input) == ([], first.messages, first.input)
    assert claimed.agent_digest == "d"
    assert claimed.continued is not None
    assert claimed.continued.steps == 1
    assert [one["id"] for one in claimed.continued.path] == [asked, "m1", "half"]
    assert sorted(claimed.continued.messages) == sorted([asked, "m1", "half"])
    (start,) = claimed.starts
    told = orjson.loads(start.data)
    assert (told["type"], told["parentRunId"]) == ("RUN_STARTED", first.run_id)
    assert told["input"]["messages"] == []


async def test_half_a_text_leaves_the_path(rig: RecordRig) -> None:
    first = await failed(rig, await rig.person())
    await resume(rig, first.run)
    claimed = await (await rig.runner()).claim()
    await rig.committed(claimed, 1, rows=[row(2)], end=end("finished", "m2", withdrawn=["half"]))
    assert await path(rig, first.thread) == [first.messages[0]["id"], "m1", "m2"]
    assert await rig.chain_holds(first.thread)


async def test_what_was_said_meanwhile_stays_where_it_is(rig: RecordRig) -> None:
    person = await rig.person()
    first = await failed(rig, person)
    await rig.run(person, first.thread)
    between = await (await rig.runner()).claim()
    await rig.committed(between, 1, rows=[row(2)], end=end("finished", "m3"))
    await resume(rig, first.run)
    claimed = await (await rig.runner()).claim()
    assert claimed.history == []
    await rig.committed(claimed, 1, rows=[row(2)], end=end("finished", "m4", withdrawn=["half"]))
    asked, later = first.messages[0]["id"], between.messages[0]["id"]
    assert await path(rig, first.thread) == [asked, "m1", later, "m3", "m4"]


async def test_it_is_taken_over_like_any_other(rig: RecordRig) -> None:
    first = await failed(rig, await rig.person())
    await resume(rig, first.run)
    runner = await rig.runner()
    claimed = await runner.claim()
    await rig.committed(claimed, 1, steps=[step("1")], rows=[row(2)])
    await runner.lose_lease()
    other = await rig.runner("r2")
    again = await other.claim(claimed.run)
    assert [one.place for one in again.journal] == ["0", "1"]
    assert again.continued is not None
    assert again.continued.steps == 1
    assert again.history == []
    assert not again.first


async def test_it_goes_before_what_waits_in_its_thread(rig: RecordRig) -> None:
    person = await rig.person()
    first = await failed(rig, person)
    await rig.run(person, first.thread)
    between = await (await rig.runner()).claim()
    waiting = await rig.run(person, first.thread, ready=False)
    made = await resume(rig, first.run)
    assert not made.ready
    await rig.committed(between, 1, rows=[row(2)], end=end("finished", "m3"))
    claimed = await (await rig.runner()).claim()
    assert claimed.run == made.key
    assert await rig.status(waiting) == "queued"


async def test_what_has_not_failed_is_not_resumed(rig: RecordRig) -> None:
    person = await rig.person()
    queued = await rig.run(person)
    with pytest.raises(BatonError) as refused:
        await resume(rig, queued)
    assert refused.value.code is Code.NOT_RUNNING
    claimed = await (await rig.runner()).claim()
    for status in ("running", "finished"):
        with pytest.raises(BatonError) as refused:
            await resume(rig, queued)
        assert refused.value.code is Code.NOT_RUNNING, status
        if status == "running":
            await rig.committed(claimed, 1, rows=[row(2)], end=end("finished"))
    with pytest.raises(BatonError) as refused:
        await resume(rig, UUID(int=7))
    assert refused.value.code is Code.NOT_FOUND
