"""Closing a run for somebody else: whoever closes a run claims it.

After a cancel the runner has half a second to end by itself, keeping its text so far. Then this
process claims the run, appends the start row, stores the tail, closes what is open, and ends it:
the same procedure as a take-over's. A poisoned run has nobody to wait for.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from shared.bus.append import Answer, Batch, Entry, Mode, append
from shared.bus.connect import AWAY as REDIS_AWAY
from shared.bus.doorbell import ring
from shared.bus.events import read_tail
from shared.bus.keys import runner_key
from shared.protocol.brackets import Brackets
from shared.protocol.codes import MEANINGS, Code
from shared.protocol.position import Position
from shared.protocol.record import Commit, End, ForeignRow, Heartbeat, Outcome, Row
from shared.protocol.transcript import messages_of
from shared.telemetry.logs import bound, get_logger, user_hash
from shared.telemetry.metrics import DEATHS, RUNS_ENDED, RUNS_POISONED
from toolsvc.runs.claim import Claim, claim_poisoned, claim_to_close
from toolsvc.runs.commit import Committed, apply_commit
from toolsvc.runs.lease import Holder, renew
from toolsvc.services import Services

log = get_logger(__name__)

#: A runner that hears of a cancel ends well within this time.
GRACE_S = 0.5
_POLL_S = 0.05
_RENEW_S = 1.0

_OWNER = text("SELECT runner_id FROM runs WHERE id = :run AND status = 'running'")
_STATUS = text("SELECT status FROM runs WHERE id = :run")
_EVENTS = text("""
    SELECT data FROM events WHERE run_id = :run AND hash IS NOT NULL ORDER BY fence, seq
""")


async def close_cancelled(services: Services, run: UUID) -> None:
    """End a run that somebody cancelled, unless its runner does so first."""
    await _hint(services, run)
    if await _ends_by_itself(services, run):
        return
    async with _own_lease(services):
        async with services.direct.transaction() as db:
            claim = await claim_to_close(db, run, services.instance)
        if claim is not None:
            with _named(claim):
                await _end(services, claim, _cancelled(claim))


async def close_poisoned(services: Services, run: UUID) -> None:
    """End a run that has killed all its carriers, unless somebody else does so just now."""
    async with _own_lease(services):
        async with services.direct.transaction() as db:
            claim = await claim_poisoned(db, run, services.instance)
        if claim is not None:
            if claim.row.mourned:
                DEATHS.labels(claim.row.mourned).inc()
            with _named(claim):
                await _end(services, claim, _failed(Code.POISONED))
            RUNS_POISONED.labels(claim.row.agent).inc()


async def close_senseless(services: Services, claim: Claim) -> None:
    """End a run just claimed for a runner, which could make nothing of it.

    Raises:
        BatonError: as `apply_commit`.
    """
    await _end(services, claim, _failed(Code.INVALID_STATE))


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a run ends: for SQL, and as its last event."""

    outcome: Outcome
    event: dict[str, Any]
    code: Code | None = None

    @property
    def message(self) -> str | None:
        """What people are told, where it failed."""
        return MEANINGS[self.code].text if self.code else None


async def _hint(services: Services, run: UUID) -> None:
    """Tell the runner at once; without the hint it would learn with its next heartbeat."""
    async with services.engine.connect() as db:
        runner = (await db.execute(_OWNER, {"run": run})).scalar_one_or_none()
    if runner:
        try:
            await services.redis.publish(runner_key(runner), f"cancel {run}")
        except REDIS_AWAY as error:
            log.warning("could not hint at a cancel", error=str(error))


async def _ends_by_itself(services: Services, run: UUID) -> bool:
    loop = asyncio.get_running_loop()
    until = loop.time() + GRACE_S
    while loop.time() < until:
        async with services.engine.connect() as db:
            status = (await db.execute(_STATUS, {"run": run})).scalar_one_or_none()
        if status != "running":
            return True
        await asyncio.sleep(_POLL_S)
    return False


@asynccontextmanager
async def _own_lease(services: Services) -> AsyncIterator[None]:
    """A closer holds a lease too: should it die half-way, the run is stranded and taken over."""
    closer = Holder(services.instance, services.secret)
    life_s = services.settings.lease_s

    async def keep() -> None:
        while True:
            async with services.engine.begin() as db:
                await renew(db, closer, Heartbeat(), life_s=life_s)
            await asyncio.sleep(_RENEW_S)

    async with services.engine.begin() as db:
        await renew(db, closer, Heartbeat(), life_s=life_s)
    keeping = asyncio.create_task(keep(), name="closer's lease")
    try:
        yield
    finally:
        keeping.cancel()
        # A lease that could not be renewed is no harm: the fence decides.
        await asyncio.gather(keeping, return_exceptions=True)


def _named(claim: Claim) -> AbstractContextManager[None]:
    """Log lines say whose they are."""
    row = claim.row
    return bound(run=row.public_id, thread=row.thread_public_id, user=user_hash(row.user_id))


async def _end(services: Services, claim: Claim, how: _Ending) -> None:
    row, fence = claim.row, claim.fence
    tail = await _fence_and_read_tail(services, claim)
    async with services.engine.connect() as db:
        stored = [found.data for found in await db.execute(_EVENTS, {"run": row.id})]
    events = _readable([*stored, *(one.data for one in tail or ())])
    ending = [*Brackets(events).closing(), how.event]
    rows = [
        Row(seq, seq, event["type"], orjson.dumps(event).decode())
        for seq, event in enumerate(ending, start=2)
    ]
    end = End(
        outcome=how.outcome,
        error_code=how.code,
        error_message=how.message,
        messages=messages_of(events),
    )
    tail_of_others = None if claim.first else tail
    commit = Commit(fence=fence, n=1, tail=tail_of_others, rows=rows, end=end)
    async with services.direct.transaction() as db:
        digest = sha256(commit.model_dump_json().encode()).digest()
        done = await apply_commit(db, row.id, commit, digest, key=services.receipt_key)
    RUNS_ENDED.labels(row.agent, how.outcome).inc()
    log.info("closed a run", fence=fence, outcome=how.outcome, code=how.code)
    await _tell(services, claim, rows, done)


def _readable(datas: list[str]) -> list[dict[str, Any]]:
    """Events as objects; what is none is passed over, for the run has to end all the same."""
    events = []
    for data in datas:
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            log.warning("an event is not JSON")
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


async def _fence_and_read_tail(services: Services, claim: Claim) -> list[ForeignRow] | None:
    """First the start row, so that the predecessor cannot write any more; only then the tail.

    A run that nobody has carried has none.
    """
    row = claim.row
    sql_last = Position(row.last_fence, row.last_seq)
    starts = [
        Entry(Position(one.fence, one.seq), one.type, row.public_id, one.data)
        for one in claim.starts
    ]
    await append(
        services.redis,
        Batch(
            row.thread_id,
            claim.fence,
            starts,
            Mode.CREATE,
            settled=claim.first,
            ttl_s=services.settings.stream_ttl_s,
            sql_last=sql_last,
        ),
    )
    if claim.first:
        return None
    known = {(one.fence, one.seq) for one in claim.starts}
    return [
        ForeignRow(entry.at.fence, entry.at.seq, entry.type, entry.data)
        for entry in await read_tail(services.redis, row.thread_id, sql_last, below=claim.fence)
        if entry.at not in known
    ]


async def _tell(services: Services, claim: Claim, rows: list[Row], done: Committed) -> None:
    """Publish what is committed; should Redis be away, the gateways find it in SQL."""
    row = claim.row
    entries = [
        Entry(Position(claim.fence, one.seq), one.type, row.public_id, one.data) for one in rows
    ]
    ttl = services.settings.stream_ttl_s
    try:
        reply = await append(services.redis, Batch(row.thread_id, claim.fence, entries, ttl_s=ttl))
        if reply.answer is not Answer.OK:
            log.warning("the stream did not take the end of a run", answer=reply.answer)
        if done.next:
            await ring(services.redis, [done.next])
    except REDIS_AWAY as error:
        log.warning("could not publish the end of a run", error=str(error))


def _cancelled(claim: Claim) -> _Ending:
    event = {
        "type": "RUN_FINISHED",
        "threadId": claim.row.thread_public_id,
        "runId": claim.row.public_id,
        "outcome": {"type": "cancelled"},
    }
    return _Ending(Outcome.CANCELLED, event)


def _failed(code: Code) -> _Ending:
    event = {"type": "RUN_ERROR", "message": MEANINGS[code].text, "code": code}
    return _Ending(Outcome.FAILED, event, code)
