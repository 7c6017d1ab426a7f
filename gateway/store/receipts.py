"""What proves a run: its receipt, and its rows with all that the chain covers."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import EVENTS, HEADS, RUNS, THREADS
from shared.export import ExportedRow
from shared.protocol.position import Position


class Proof(NamedTuple):
    """A run, how it stands, and its receipt as it was signed."""

    key: UUID
    status: str
    receipt: str | None
    #: Whether retention has deleted events of it.
    gone: bool


async def find(db: AsyncConnection, user: UUID, public_id: str) -> Proof | None:
    """A person's run, unless its thread was deleted."""
    query = (
        select(
            RUNS.c.id,
            RUNS.c.status,
            RUNS.c.receipt,
            func.coalesce(HEADS.c.fence >= RUNS.c.first_fence, False),
        )
        .join(THREADS, THREADS.c.id == RUNS.c.thread_id)
        .outerjoin(HEADS, HEADS.c.thread_id == RUNS.c.thread_id)
        .where(RUNS.c.user_id == user, RUNS.c.public_id == public_id)
        .where(THREADS.c.deleted_at.is_(None))
    )
    row = (await db.execute(query)).one_or_none()
    return Proof(*row) if row else None


_place = tuple_(EVENTS.c.fence, EVENTS.c.seq)


async def rows(
    db: AsyncConnection, run: UUID, after: Position, limit: int
) -> Sequence[ExportedRow]:
    """Rows of a run that has ended, in the order of the chain."""
    query = (
        select(*(EVENTS.c[name] for name in ExportedRow._fields))
        .where(EVENTS.c.run_id == run, _place > tuple_(*after), EVENTS.c.hash.is_not(None))
        .order_by(EVENTS.c.fence, EVENTS.c.seq)
        .limit(limit)
    )
    return [ExportedRow(*row) for row in await db.execute(query)]
