"""Ringing again, twice a second and from any number of instances, for runs that nobody hears.

Also just after the end of a lease, for that is when runs are stranded.

Stranded runs (their runner's lease has ended) and queued runs whose entry is gone, or has lost its
reader. A run is rung for only while no other entry speaks of it, so that many instances do not fill
the stream.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text

from shared.bus.connect import AWAY as REDIS_AWAY
from shared.bus.doorbell import Ring, ensure_group, lost, ring, waiting
from shared.bus.keys import RUNS, runner_key
from shared.db.conversations import SUSPECT
from shared.db.engine import AWAY as SQL_AWAY
from shared.protocol.record import Heartbeat
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import (
    LEASES,
    QUEUE_AGE_SECONDS,
    QUEUE_DEPTH,
    RUNGS,
    RUNS_CARRIED,
)
from toolsvc.runs.close import close_poisoned
from toolsvc.runs.code import KEEPER, SERVES, fits
from toolsvc.runs.deaths import DIED, POISONED, STRANDED, UNASKED
from toolsvc.runs.lease import Holder, renew
from toolsvc.services import Services

log = get_logger(__name__)

EVERY_S = 0.5
#: How long after the end of a lease to look for what it leaves: each instance at its own moment,
#: so that the second finds the entries of the first.
AFTER_END_S = (0.01, 0.15)
#: A fresh run's own entry is on its way; ringing for it at once would double it.
PATIENCE_S = 1.0
MOST = 1000
#: Runners carry eight of them each at a time; to ring for hundreds would be in vain.
SUSPECTS_AT_ONCE = 16
#: The part of a lease's life that ringing may take.
RINGING = 0.25


class Wanted(NamedTuple):
    """A run that somebody shall claim; `keeper` is the runner to ask where not any will do."""

    run: UUID
    thread: UUID
    keeper: str | None


#: Deaths of its carriers; to end a cancelled run, none of its code is run.
_DEATHS = f"""CASE WHEN cancel_requested_at IS NULL
    THEN deaths + CASE WHEN {DIED} THEN 1 ELSE 0 END ELSE 0 END"""
# A runner that serves the agent must live, else the ring would be answered in vain for ever; to
# close a poisoned run, no runner is needed.
_SERVED = f"""EXISTS (
    SELECT FROM runners WHERE lease_until > now() AND (
        {SERVES.format("runners")} AND {fits("runners")}
        OR runs.cancel_requested_at IS NOT NULL AND agents IS NOT NULL
    )
)"""
_QUEUED = text(f"""
    SELECT id, public_id, thread_id, keeper, deaths FROM (
        SELECT id, public_id, thread_id, {KEEPER} AS keeper, {_DEATHS} AS deaths,
            {_SERVED} AS served
        FROM runs
        WHERE status = 'queued' AND ready AND created_at < now() - make_interval(secs => :patience)
            AND {UNASKED}
        ORDER BY priority, turn, id
    ) AS queued WHERE served OR deaths >= {POISONED} LIMIT :most
""")  # noqa: S608
_STRANDED = text(f"""
    SELECT id, public_id, thread_id, keeper, deaths FROM (
        SELECT runs.id, runs.public_id, runs.thread_id, {KEEPER} AS keeper, {_DEATHS} AS deaths,
            {_SERVED} AS served
        FROM runs WHERE {STRANDED}
    ) AS stranded WHERE served OR deaths >= {POISONED} LIMIT :most
""")  # noqa: S608
# Runners that died long ago; what they served is remembered by gateways for a day.
_FORGET = text("""
    DELETE FROM runners WHERE lease_until < now() - interval '7 days'
        AND NOT EXISTS (SELECT FROM runs WHERE runner_id = runners.id AND status = 'running')
""")
_STATE = text("""
    SELECT
        (SELECT count(*) FROM runs WHERE status = 'queued') AS queued,
        (SELECT COALESCE(EXTRACT(epoch FROM now() - min(created_at)), 0) FROM runs
            WHERE status = 'queued' AND ready) AS age,
        (SELECT count(*) FROM runners WHERE lease_until > now() AND agents IS NOT NULL) AS leases,
        (SELECT count(*) FROM runs WHERE status = 'running') AS carried,
        (SELECT EXTRACT(epoch FROM min(lease_until) - now()) FROM runners
            WHERE lease_until > now() AND agents IS NOT NULL) AS next_end_s
""")


async def keep_ringing(services: Services) -> None:
    """Look and ring until cancelled; a store that is away is waited for, and nothing ends it."""
    while True:
        pause_s = EVERY_S
        try:
            pause_s = _pause_s(await _look(services))
        except SQL_AWAY as error:
            log.warning("could not look for runs to ring for", error=str(error))
            services.judge.failed()
        except Exception:
            log.exception("looking for runs to ring for failed")
        await asyncio.sleep(pause_s)


def _pause_s(next_end_s: float | None) -> float:
    """Until the next look: at once when a lease ends, instances one after the other."""
    if next_end_s is None:
        return EVERY_S
    return min(EVERY_S, next_end_s + random.uniform(*AFTER_END_S))  # noqa: S311 - no secret


async def _look(services: Services) -> float | None:
    """Ring for what nobody hears; in how many seconds the next lease ends, unless renewed."""
    stranded: Sequence[Row[Any]] = ()
    holder = Holder(services.instance, services.secret)
    async with services.engine.begin() as db:
        # By this lease people see that it lives; one that closes runs has it in any case.
        await renew(db, holder, Heartbeat(), life_s=services.settings.lease_s)
        queued = (await db.execute(_QUEUED, {"patience": PATIENCE_S, "most": MOST})).all()
        if services.judge.may_judge():
            stranded = (await db.execute(_STRANDED, {"most": MOST})).all()
        state = (await db.execute(_STATE)).one()
        await db.execute(_FORGET)
    services.judge.served()
    QUEUE_DEPTH.set(state.queued)
    QUEUE_AGE_SECONDS.set(state.age)
    LEASES.set(state.leases)
    RUNS_CARRIED.set(state.carried)
    await _ring_in_time(services, _wanted(queued), _wanted(stranded))
    for row in (*queued, *stranded):
        if row.deaths >= POISONED:
            await _close(services, row)
    return None if state.next_end_s is None else float(state.next_end_s)


async def _ring_in_time(services: Services, queued: list[Wanted], stranded: list[Wanted]) -> None:
    """Ring, but not for long: while Redis stands still, SQL is looked at all the same.

    An instance that has not looked for half a lease has to serve a whole one before it may judge
    any again, and every take-over would wait for that.
    """
    try:
        async with asyncio.timeout(services.judge.lease_s * RINGING):
            await _ring_unheard(services, queued, stranded)
    except REDIS_AWAY as error:
        log.warning("could not ring", error=str(error) or type(error).__name__)


async def _close(services: Services, row: Row[Any]) -> None:
    try:
        await close_poisoned(services, row.id)
    except Exception:
        log.exception("could not close a poisoned run; it is tried again", run=row.public_id)


def _wanted(rows: Sequence[Row[Any]]) -> list[Wanted]:
    """Suspects a few at a time: runners start few processes for them, and ask for the others."""
    suspects = [row for row in rows if SUSPECT <= row.deaths < POISONED]
    others = [row for row in rows if row.deaths < SUSPECT]
    chosen = (*others, *suspects[:SUSPECTS_AT_ONCE])
    return [Wanted(row.id, row.thread_id, row.keeper) for row in chosen]


async def _ring_unheard(services: Services, queued: list[Wanted], stranded: list[Wanted]) -> None:
    if not queued and not stranded:
        return
    gone = await lost(services.redis)
    # As many entries as waiting runs: nothing is lost, and the stream need not be read.
    if not stranded and await services.redis.xlen(RUNS) >= len(queued) + len(gone):
        return
    await ensure_group(services.redis)
    heard = await waiting(services.redis, but=gone)
    for cause, rings in (("queued", queued), ("stranded", stranded)):
        unheard = [one for one in rings if one.run not in heard]
        await ring(services.redis, [Ring(one.run, one.thread) for one in unheard if not one.keeper])
        for one in unheard:
            if one.keeper:  # the doorbell would wake anybody
                await services.redis.publish(runner_key(one.keeper), f"claim {one.run}")
        RUNGS.labels(cause).inc(len(unheard))
        if unheard:
            log.info("rung again", cause=cause, runs=len(unheard))
