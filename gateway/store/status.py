"""What goes on: the processes that carry runs, and what waits for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# A runner that ended stays visible for some minutes, so that people see what happened.
_PROCESSES = text("""
    SELECT id, version, started_at, lease_until, lease_until > now() AS alive, slots,
        CASE WHEN lease_until > now() THEN carried ELSE 0 END AS carried,
        agents, broken
    FROM runners WHERE lease_until > now() - interval '10 minutes'
    ORDER BY lease_until > now() DESC, id
""")

# Threads in which nothing goes on until somebody has decided.
_ASKING = """
    SELECT count(DISTINCT thread_id) FROM interrupts JOIN threads ON threads.id = thread_id
    WHERE status = 'open' AND deleted_at IS NULL
"""
# Without a person: the runs that wait for a runner, by the index of the claims.
_QUEUE = text(f"""
    SELECT count(*) AS waiting, EXTRACT(epoch FROM now() - min(created_at)) AS oldest_s,
        (SELECT count(*) FROM runs WHERE status = 'queued' AND NOT ready) AS behind,
        ({_ASKING}) AS asking,
        (SELECT count(*) FROM runs WHERE status = 'running') AS running,
        (SELECT count(*) FROM runs WHERE status = 'running' AND NOT EXISTS (
            SELECT FROM runners WHERE runners.id = runs.runner_id AND lease_until > now()
        )) AS stranded
    FROM runs WHERE status = 'queued' AND ready
""")  # noqa: S608
_MY_QUEUE = text(f"""
    SELECT count(*) FILTER (WHERE status = 'queued' AND ready) AS waiting,
        EXTRACT(epoch FROM now() - min(created_at) FILTER (WHERE status = 'queued' AND ready))
            AS oldest_s,
        count(*) FILTER (WHERE status = 'queued' AND NOT ready) AS behind,
        ({_ASKING} AND threads.user_id = :user) AS asking,
        count(*) FILTER (WHERE status = 'running') AS running, NULL AS stranded
    FROM runs WHERE user_id = :user AND status IN ('queued', 'running')
""")  # noqa: S608

# Runners that have said something within a lease's life, as toolsvc counts them.
_PROVIDERS = text("""
    SELECT name, open_until IS NOT NULL AS down,
        GREATEST(0, EXTRACT(epoch FROM open_until - now())) AS open_s,
        GREATEST(0, EXTRACT(epoch FROM held_until - now())) AS held_s,
        coalesce(sum(active), 0) AS active, coalesce(sum(waiting), 0) AS waiting
    FROM model_providers LEFT JOIN provider_loads
        ON provider = name AND seen_at > now() - interval '5 seconds'
    GROUP BY name ORDER BY name
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow:
    """A model server: whether it counts as down, for how long nobody asks it, and its calls."""

    name: str
    down: bool
    open_s: float
    held_s: float
    active: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """A process with a lease; one without agents is a toolsvc."""

    id: str
    version: str
    started_at: datetime
    lease_until: datetime
    alive: bool
    slots: int
    carried: int
    agents: dict[str, Any] | None
    broken: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """How many runs wait and how many are carried.

    Those that wait for a runner are `waiting`, those that wait for another run of their thread, or
    for what that asks, `behind`; `asking` are threads that wait for a decision.
    """

    waiting: int
    oldest_s: float | None
    behind: int
    asking: int
    running: int
    stranded: int | None


async def processes(db: AsyncConnection) -> Sequence[ProcessRow]:
    """All processes with a lease, living ones first."""
    return [ProcessRow(**row._mapping) for row in await db.execute(_PROCESSES)]


async def queue(db: AsyncConnection, user: UUID | None) -> QueueRow:
    """Everybody's queue, or one person's."""
    found = await db.execute(_MY_QUEUE, {"user": user}) if user else await db.execute(_QUEUE)
    return QueueRow(**found.one()._mapping)


async def providers(db: AsyncConnection) -> Sequence[ProviderRow]:
    """All model servers that runners have ever named."""
    return [ProviderRow(**row._mapping) for row in await db.execute(_PROVIDERS)]
