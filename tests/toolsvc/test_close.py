"""Cancelling: the runner ends its run by itself, or toolsvc does so in its place."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import orjson
import pytest
import pytest_asyncio

from shared.bus.append import Answer, Batch, Entry, Mode, append
from shared.bus.keys import events_key, runner_key
from shared.protocol.ids import uuid7
from shared.protocol.position import Position
from shared.protocol.record import ClaimedRun
from tests.toolsvc.record_rig import (
    GATEWAY_KEY,
    RUNNER_KEY,
    RecordRig,
    event,
    opened,
    refused,
    row,
)
from tests.until import until
from toolsvc.runs import close

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


@pytest_asyncio.fixture
async def rig(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RecordRig]:
    monkeypatch.setattr(close, "_POLL_S", 0.01)
    async with opened(database_url, redis_url) as made:
        yield made


@pytest.fixture
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(close, "GRACE_S", 0.0)


async def close_run(rig: RecordRig, run: Any) -> None:
    answer = await rig.post(f"/runs/{run}/close", {}, GATEWAY_KEY)
    assert (answer.status_code, answer.json()) == (202, {"cancelled": True})


async def carried(rig: RecordRig) -> ClaimedRun:
    """A run at work: its start is in the stream, and it goes on writing there."""
    await rig.run(await rig.person())
    claimed = await (await rig.runner()).claim()
    await rig.publish(claimed, range(0), starts=True)
    return claimed


def text(seq: int, delta: str) -> str:
    return event("TEXT_MESSAGE_CHUNK", seq, messageId="m1", role="assistant", delta=delta)


# ------------------------------------------------------------------------------ by its runner
async def test_a_runner_is_told_at_once_and_ends_the_run_itself(
    rig: RecordRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(close, "GRACE_S", 60.0)
    claimed = await carried(rig)
    async with rig.redis.pubsub() as ear:
        await ear.subscribe(runner_key("r1"))
        await ear.get_message(timeout=30)
        await rig.cancel(claimed.run)
        await close_run(rig, claimed.run)
        hint = await ear.get_message(timeout=30)
    assert hint is not None
    assert hint["data"] == f"cancel {claimed.run}".encode()
    await rig.committed(claimed, rows=[row(2, "RUN_FINISHED")], end={"outcome": "cancelled"})
    await rig.closings()
    assert await rig.status(claimed.run) == "cancelled"
    assert [at[:2] for at in await rig.positions(claimed.thread)] == [(1, 1), (1, 2)]


async def test_a_queued_run_is_left_to_its_claim(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    await rig.cancel(run)
    await close_run(rig, run)
    await rig.closings()
    assert await rig.status(run) == "queued"
    claimed = await (await rig.runner()).claim()
    assert claimed.cancelled
    await rig.committed(claimed, rows=[row(2, "RUN_FINISHED")], end={"outcome": "cancelled"})
    assert await rig.status(run) == "cancelled"


@pytest.mark.usefixtures("_no_grace")
async def test_a_run_that_is_over_stays_as_it_ended(rig: RecordRig) -> None:
    claimed = await carried(rig)
    await rig.committed(claimed, rows=[row(2, "RUN_FINISHED")], end={"outcome": "finished"})
    before = await rig.positions(claimed.thread)
    await close_run(rig, claimed.run)
    await close_run(rig, uuid4())
    await rig.closings()
    assert await rig.status(claimed.run) == "finished"
    assert await rig.positions(claimed.thread) == before


# ------------------------------------------------------------------------------ by toolsvc
@pytest.mark.usefixtures("_no_grace")
async def test_a_silent_runners_run_is_closed_with_all_that_it_wrote(rig: RecordRig) -> None:
    claimed = await carried(rig)
    waiting = uuid7()
    await rig.sql(
        "INSERT INTO runs (id, public_id, user_id, thread_id, root_id, agent, status, ready, "
        "priority, turn, input, input_digest, commits) SELECT :id, 'next', user_id, thread_id, "
        ":id, agent, 'queued', false, 0, 9, input, '', 0 FROM runs WHERE id = :run",
        id=waiting,
        run=claimed.run,
    )
    opening = event("STEP_STARTED", 2, stepName="A")
    await rig.committed(claimed, rows=[[2, 2, "STEP_STARTED", opening]])
    call = event("TOOL_CALL_START", 5, toolCallId="c1", toolCallName="t", parentMessageId="m1")
    only_in_redis = [
        (2, "STEP_STARTED", opening),
        (3, "TEXT_MESSAGE_CHUNK", text(3, "Hel")),
        (4, "TEXT_MESSAGE_CHUNK", text(4, "lo")),
        (5, "TOOL_CALL_START", call),
    ]
    entries = [
        Entry(Position(1, seq), type_, claimed.run_id, data) for seq, type_, data in only_in_redis
    ]
    await append(rig.redis, Batch(claimed.thread, 1, entries))
    await rig.cancel(claimed.run)

    await close_run(rig, claimed.run)
    await rig.closings()
    assert await rig.positions(claimed.thread) == [
        (1, 1, 1, "RUN_STARTED"),
        (1, 2, 2, "STEP_STARTED"),
        (1, 3, 3, "TEXT_MESSAGE_CHUNK"),
        (1, 4, 4, "TEXT_MESSAGE_CHUNK"),
        (1, 5, 5, "TOOL_CALL_START"),
        (2, 1, 1, "CUSTOM"),
        (2, 2, 2, "TOOL_CALL_END"),
        (2, 3, 3, "STEP_FINISHED"),
        (2, 4, 4, "RUN_FINISHED"),
    ]
    stored = await rig.events(claimed.thread)
    assert orjson.loads(stored[-1].data)["outcome"] == {"type": "cancelled"}
    assert await rig.chain_holds(claimed.thread)
    streamed = await rig.streamed(claimed.thread)
    assert [(one.at, one.data) for one in streamed] == [
        ((one.fence, one.seq), one.data) for one in stored
    ]
    assert await rig.status(claimed.run) == "cancelled"
    (message,) = await rig.sql("SELECT * FROM messages WHERE id = 'm1'")
    assert message.content["content"] == "Hello"
    assert message.content["toolCalls"][0]["id"] == "c1"
    assert await rig.rung() == {waiting}
    late = await rig.publish(claimed, range(6, 7))
    assert late.answer is Answer.FENCED
    assert await rig.refusal(claimed, 2, rows=[row(3)]) == (409, "fenced")


@pytest.mark.usefixtures("_no_grace")
async def test_a_run_is_closed_although_its_stream_is_gone(rig: RecordRig) -> None:
    claimed = await carried(rig)
    await rig.committed(claimed, rows=[row(2)])
    await rig.redis.flushall()
    await rig.cancel(claimed.run)
    await close_run(rig, claimed.run)
    await rig.closings()
    assert await rig.status(claimed.run) == "cancelled"
    assert [one.at for one in await rig.streamed(claimed.thread)] == [(1, 1), (2, 1), (2, 2)]
    assert await rig.chain_holds(claimed.thread)


@pytest.mark.usefixtures("_no_grace")
async def test_two_closes_at_once_end_a_run_once(rig: RecordRig) -> None:
    claimed = await carried(rig)
    await rig.cancel(claimed.run)
    for _ in range(4):
        await close_run(rig, claimed.run)
    await rig.closings()
    assert await rig.status(claimed.run) == "cancelled"
    types = [at[3] for at in await rig.positions(claimed.thread)]
    assert types.count("RUN_FINISHED") == 1
    assert await rig.chain_holds(claimed.thread)


@pytest.mark.usefixtures("_no_grace")
async def test_a_close_that_fails_half_way_leaves_a_run_to_be_taken_over(rig: RecordRig) -> None:
    claimed = await carried(rig)
    await rig.cancel(claimed.run)
    await rig.redis.set(events_key(claimed.thread), "not a stream")
    await close_run(rig, claimed.run)
    await rig.closings()
    assert await rig.status(claimed.run) == "running"
    await rig.redis.delete(events_key(claimed.thread))
    await rig.sql("UPDATE runners SET lease_until = now() - interval '1 s'")
    taken = await (await rig.runner("r2")).claim(claimed.run)
    assert taken.cancelled
    assert [(one.fence, one.seq) for one in taken.starts] == [(1, 1), (2, 1), (3, 1)]


@pytest.mark.usefixtures("_no_grace")
async def test_a_taken_over_run_is_closed_with_what_its_snapshot_kept(rig: RecordRig) -> None:
    """The successor withdrew the half message; what it then wrote itself is kept."""
    claimed = await carried(rig)
    await rig.committed(claimed, rows=[[2, 2, "TEXT_MESSAGE_CHUNK", text(2, "half")]])
    await rig.sql("UPDATE runners SET lease_until = now() - interval '1 s'")
    taken = await (await rig.runner("r2")).claim(claimed.run)
    await rig.publish(taken, range(0), starts=True)
    snapshot = event("MESSAGES_SNAPSHOT", 2, messages=taken.messages)
    anew = event("TEXT_MESSAGE_CHUNK", 3, messageId="m2", role="assistant", delta="anew")
    rows = [[2, 2, "MESSAGES_SNAPSHOT", snapshot], [3, 3, "TEXT_MESSAGE_CHUNK", anew]]
    await rig.committed(taken, tail=[], rows=rows)
    await rig.cancel(taken.run)
    await close_run(rig, taken.run)
    await rig.closings()
    kept = await rig.sql("SELECT id FROM messages WHERE role = 'assistant'")
    assert [one.id for one in kept] == ["m2"]
    assert (await rig.thread_row(taken.thread)).head == "m2"


async def test_only_a_gateway_may_close(rig: RecordRig) -> None:
    claimed = await carried(rig)
    for key in ("", RUNNER_KEY, claimed.token):
        answer = await rig.post(f"/runs/{claimed.run}/close", {}, key)
        assert refused(answer) == (401, "not_signed_in")
    assert refused(await rig.post("/runs/x/close", {}, GATEWAY_KEY)) == (404, "not_found")
    assert await rig.status(claimed.run) == "running"


async def test_a_closer_holds_a_lease_while_it_closes(
    rig: RecordRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(close, "GRACE_S", 0.0)
    monkeypatch.setattr(close, "_RENEW_S", 0.005)
    async with close._own_lease(rig.services):
        (first,) = await rig.sql("SELECT * FROM runners WHERE id = 'toolsvc-test'")

        async def renewed() -> bool:
            (now,) = await rig.sql("SELECT * FROM runners WHERE id = 'toolsvc-test'")
            return bool(now.lease_until > first.lease_until)

        await until(renewed)


async def test_a_stream_that_a_higher_fence_has_written_keeps_no_run_open(
    rig: RecordRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody wrote into the stream by hand; SQL decides."""
    monkeypatch.setattr(close, "GRACE_S", 0.0)
    claimed = await carried(rig)
    rubbish = [Entry(Position(99, 1), "CUSTOM", "x", "{}")]
    await append(rig.redis, Batch(claimed.thread, 99, rubbish, Mode.CREATE))
    await rig.cancel(claimed.run)
    await close_run(rig, claimed.run)
    await rig.closings()
    assert await rig.status(claimed.run) == "cancelled"


@pytest.mark.usefixtures("_no_grace")
@pytest.mark.parametrize(
    "data",
    ["{}", "7", "no JSON", '{"type": []}', '{"type": "TOOL_CALL_START"}',
     '{"type": "TEXT_MESSAGE_CHUNK", "messageId": 5, "delta": "x"}',
     '{"type": "TEXT_MESSAGE_CHUNK", "messageId": "\\u0000", "delta": "x"}',
     '{"type": "TEXT_MESSAGE_CHUNK", "messageId": "m1", "delta": ["x"]}',
     '{"type": "MESSAGES_SNAPSHOT", "messages": 1}'],
)  # fmt: skip
async def test_a_run_is_closed_although_somebody_has_altered_its_events(
    rig: RecordRig, data: str
) -> None:
    claimed = await carried(rig)
    await rig.committed(claimed, rows=[[2, 2, "TEXT_MESSAGE_CHUNK", text(2, "Hello")], row(3)])
    await rig.sql("UPDATE events SET data = :data WHERE seq = 3", data=data)
    await rig.cancel(claimed.run)
    await close_run(rig, claimed.run)
    await rig.closings()
    assert await rig.status(claimed.run) == "cancelled"
    (message,) = await rig.sql("SELECT content FROM messages WHERE role = 'assistant'")
    assert message.content["content"] == "Hello"


@pytest.mark.usefixtures("_no_grace")
async def test_what_somebody_wrote_far_ahead_is_not_taken_for_the_runner_s(rig: RecordRig) -> None:
    claimed = await carried(rig)
    await append(
        rig.redis,
        Batch(
            claimed.thread, 1, [Entry(Position(1, 2), "CUSTOM", claimed.run_id, event("CUSTOM", 2))]
        ),
    )
    fields: dict[Any, Any] = {"type": "CUSTOM", "run": claimed.run_id, "data": event("CUSTOM", 9)}
    await rig.redis.xadd(events_key(claimed.thread), fields, id="1-9999")
    await rig.cancel(claimed.run)
    await close_run(rig, claimed.run)
    await rig.closings()
    stored = [(fence, seq) for fence, seq, *_ in await rig.positions(claimed.thread)]
    assert stored == [(1, 1), (1, 2), (2, 1), (2, 2)]
