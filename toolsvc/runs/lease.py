"""Leases: a runner has one for all its runs, in one row, renewed by one statement a second.

Leases are judged by the database's clock alone. An instance calls a lease ended only after it has
itself served without a gap for one lease's life: after a pause of SQL or of this process, living
runners must first get the chance to renew.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import BatonError, FencedError
from shared.protocol.codes import Code
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
class Holder:
    """A holder of a lease, and the SHA-256 of the secret it showed; runners of old show none."""

    id: str
    secret: bytes | None


@dataclass(frozen=True, slots=True)
class News:
    """What a runner learns about a run that it named."""

    run: UUID
    fence: int
    carried: bool
    cancelled: bool


# A row belongs to the first that shows a secret under its id; no row comes back for others.
_MINE = "(runners.secret IS NULL OR runners.secret = :secret)"

# The lease is renewed; runs that the runner owns but has not named for a lease's life were lost
# with the answer to their claim, and are set free; the rest is news about the runs it named, one
# row at least.
_RENEW = text(f"""
    WITH lease AS (
        INSERT INTO runners (id, lease_until, version, slots, carried, secret)
        VALUES (:runner, now() + make_interval(secs => :life), :version, :slots, :carried, :secret)
        ON CONFLICT (id) DO UPDATE SET
            lease_until = excluded.lease_until, version = excluded.version,
            slots = excluded.slots, carried = excluded.carried, secret = excluded.secret
        WHERE {_MINE}
        RETURNING id
    ), stranded AS (
        UPDATE runs SET runner_id = NULL
        WHERE EXISTS (SELECT FROM lease) AND runner_id = :runner AND status = 'running'
            AND claimed_at < now() - make_interval(secs => :life)
            AND NOT id = ANY(CAST(:named AS uuid[]))
    )
    SELECT runs.id, threads.fence, runs.cancel_requested_at IS NOT NULL AS cancelled,
        runs.status = 'running' AND runs.runner_id = :runner AS carried
    FROM lease LEFT JOIN (runs JOIN threads ON threads.id = runs.thread_id)
        ON runs.id = ANY(CAST(:named AS uuid[]))
""")  # noqa: S608

# What it still carries has no carrier now, which is another thing than one that died.
_RELEASE = text(f"""
    WITH lease AS (
        UPDATE runners SET lease_until = now(), carried = 0
        WHERE id = :runner AND {_MINE} RETURNING id
    ), freed AS (
        UPDATE runs SET runner_id = NULL
        WHERE EXISTS (SELECT FROM lease) AND runner_id = :runner AND status = 'running'
    )
    SELECT id FROM lease
""")  # noqa: S608

_CARRIED_UNDER = text("""
    SELECT threads.fence FROM runs JOIN threads ON threads.id = runs.thread_id
    WHERE runs.id = :run AND runs.status = 'running' AND runs.fence = threads.fence
""")

# By way of jsonb, which claims read: what it does not take (NUL) must not come in.
_ANNOUNCE = text(f"""
    INSERT INTO runners (id, lease_until, version, slots, agents, broken, secret, former, same_code)
    VALUES (:runner, now() + make_interval(secs => :life), :version, :slots,
        CAST(CAST(:agents AS jsonb) AS json), CAST(CAST(:broken AS jsonb) AS json), :secret,
        CAST(:former AS text[]), :same_code)
    ON CONFLICT (id) DO UPDATE SET agents = excluded.agents, broken = excluded.broken,
        version = excluded.version, slots = excluded.slots, secret = excluded.secret,
        former = excluded.former, same_code = excluded.same_code
    WHERE {_MINE}
    RETURNING id
""")  # noqa: S608


_CODE_IN_USE = text("""
    SELECT agent_digest FROM runs WHERE status = 'running' AND agent_digest IS NOT NULL
    UNION SELECT agent_digest FROM runs
        WHERE status = 'queued' AND ready AND agent_digest IS NOT NULL
    UNION SELECT agent_digest FROM runs
        WHERE (status = 'interrupted' OR error_code IN ('poisoned', 'tool_outcome_unknown'))
        AND agent_digest IS NOT NULL AND ended_at > now() - make_interval(days => :days)
""")
#: A run that waits for a person keeps its code on its runner's disk; not for ever.
WANTED_DAYS = 90


async def code_in_use(db: AsyncConnection) -> list[str]:
    """Digests of the code that runs began with which go on, or wait for a person."""
    return list((await db.execute(_CODE_IN_USE, {"days": WANTED_DAYS})).scalars())


async def renew(
    db: AsyncConnection, runner: Holder, heartbeat: Heartbeat, *, life_s: float
) -> list[News]:
    """Renew a runner's lease; news for each run it named that still exists.

    Raises:
        BatonError: `forbidden` where the id is another process's.
    """
    found = await db.execute(
        _RENEW,
        {
            "runner": runner.id,
            "secret": runner.secret,
            "life": life_s,
            "version": heartbeat.version,
            "slots": heartbeat.slots,
            "carried": len(heartbeat.runs),
            "named": [carried.run for carried in heartbeat.runs],
        },
    )
    return [
        News(row.id, row.fence, row.carried, row.cancelled)
        for row in _own(found.all())
        if row.id is not None
    ]


async def confirm(db: AsyncConnection, run: UUID, fence: int) -> None:
    """Raise `fenced` unless the run is carried under this fence."""
    found = (await db.execute(_CARRIED_UNDER, {"run": run})).scalar_one_or_none()
    if found != fence:
        raise FencedError(fence)


async def release(db: AsyncConnection, runner: Holder) -> None:
    """End a lease: its runs may be taken over at once. Raises as `renew` does."""
    found = await db.execute(_RELEASE, {"runner": runner.id, "secret": runner.secret})
    _own(found.all())


async def announce(
    db: AsyncConnection, runner: Holder, catalogue: Catalogue, *, life_s: float
) -> None:
    """Keep what a runner serves; gateways and claims read it. Raises as `renew` does."""
    found = await db.execute(
        _ANNOUNCE,
        {
            "runner": runner.id,
            "secret": runner.secret,
            "life": life_s,
            "version": catalogue.version,
            "slots": catalogue.slots,
            "agents": json.dumps(catalogue.agents),
            "broken": json.dumps(catalogue.broken),
            "former": catalogue.former,
            "same_code": catalogue.same_code,
        },
    )
    _own(found.all())


def _own(rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    if not rows:
        raise BatonError(
            Code.FORBIDDEN, "This runner id is another process's, which showed another secret."
        )
    return rows
