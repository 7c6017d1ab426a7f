"""Leases: a runner has one for all its runs, in one row, renewed by one statement a second.

Leases are judged by the database's clock alone. An instance calls a lease ended only after it has
itself served without a gap for one lease's life: after a pause of SQL or of this process, living
runners must first get the chance to renew.
"""

import json
import time
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import FencedError
from shared.protocol.record import Catalogue, Heartbeat


class LeaseJudge:
    """Whether this instance has served long enough to call a lease ended."""

    def __init__(self, lease_s: float) -> None:
        self.lease_s = lease_s
        self._serving_since: float | None = None
        self._served_at = 0.0

    def served(self, *, now: float | None = None) -> None:
        """SQL has just answered; a longer silence before begins the wait anew."""
        now = time.monotonic() if now is None else now
        if self._serving_since is None or now - self._served_at > self.lease_s / 2:
            self._serving_since = now
        self._served_at = now

    def failed(self) -> None:
        """SQL did not answer."""
        self._serving_since = None

    def may_judge(self, *, now: float | None = None) -> bool:
        """Whether a lease that looks ended has ended."""
        now = time.monotonic() if now is None else now
        if self._serving_since is None or now - self._served_at > self.lease_s / 2:
            return False
        return now - self._serving_since >= self.lease_s


@dataclass(frozen=True, slots=True)
class News:
    """What a runner learns about a run that it named."""

    run: UUID
    fence: int
    carried: bool
    cancelled: bool


# The lease is renewed; runs that the runner owns but has not named for a lease's life were lost
# with the answer to their claim, and are set free; the rest is news about the runs it named.
_RENEW = text("""
    WITH lease AS (
        INSERT INTO runners (id, lease_until, version, slots, carried)
        VALUES (:runner, now() + make_interval(secs => :life), :version, :slots, :carried)
        ON CONFLICT (id) DO UPDATE SET
            lease_until = excluded.lease_until, version = excluded.version,
            slots = excluded.slots, carried = excluded.carried
    ), stranded AS (
        UPDATE runs SET runner_id = NULL
        WHERE runner_id = :runner AND status = 'running'
            AND claimed_at < now() - make_interval(secs => :life)
            AND NOT id = ANY(CAST(:named AS uuid[]))
    )
    SELECT runs.id, threads.fence, runs.cancel_requested_at IS NOT NULL AS cancelled,
        runs.status = 'running' AND runs.runner_id = :runner AS carried
    FROM runs JOIN threads ON threads.id = runs.thread_id
    WHERE runs.id = ANY(CAST(:named AS uuid[]))
""")

_RELEASE = text("UPDATE runners SET lease_until = now(), carried = 0 WHERE id = :runner")

_CARRIED_UNDER = text("""
    SELECT threads.fence FROM runs JOIN threads ON threads.id = runs.thread_id
    WHERE runs.id = :run AND runs.status = 'running' AND runs.fence = threads.fence
""")

# By way of jsonb, which claims read: what it does not take (NUL) must not come in.
_ANNOUNCE = text("""
    INSERT INTO runners (id, lease_until, version, slots, agents, broken)
    VALUES (:runner, now() + make_interval(secs => :life), :version, :slots,
        CAST(CAST(:agents AS jsonb) AS json), CAST(CAST(:broken AS jsonb) AS json))
    ON CONFLICT (id) DO UPDATE SET agents = excluded.agents, broken = excluded.broken,
        version = excluded.version, slots = excluded.slots
""")


async def renew(
    db: AsyncConnection, runner: str, heartbeat: Heartbeat, *, life_s: float
) -> list[News]:
    """Renew a runner's lease; news for each run it named that still exists."""
    found = await db.execute(
        _RENEW,
        {
            "runner": runner,
            "life": life_s,
            "version": heartbeat.version,
            "slots": heartbeat.slots,
            "carried": len(heartbeat.runs),
            "named": [carried.run for carried in heartbeat.runs],
        },
    )
    return [News(row.id, row.fence, row.carried, row.cancelled) for row in found]


async def confirm(db: AsyncConnection, run: UUID, fence: int) -> None:
    """Raise `fenced` unless the run is carried under this fence."""
    found = (await db.execute(_CARRIED_UNDER, {"run": run})).scalar_one_or_none()
    if found != fence:
        raise FencedError(fence)


async def release(db: AsyncConnection, runner: str) -> None:
    """End a lease: its runs may be taken over at once."""
    await db.execute(_RELEASE, {"runner": runner})


async def announce(
    db: AsyncConnection, runner: str, catalogue: Catalogue, *, life_s: float
) -> None:
    """Keep what a runner serves; gateways and claims read it."""
    await db.execute(
        _ANNOUNCE,
        {
            "runner": runner,
            "life": life_s,
            "version": catalogue.version,
            "slots": catalogue.slots,
            "agents": json.dumps(catalogue.agents),
            "broken": json.dumps(catalogue.broken),
        },
    )
