"""Threads: making, reading, listing; and the lock of their runs."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import THREADS
from shared.protocol.ids import uuid7
from shared.protocol.position import Position

_COLUMNS = (
    THREADS.c.id.label("key"),
    THREADS.c.public_id,
    THREADS.c.agent,
    THREADS.c.title,
    THREADS.c.project_id,
    THREADS.c.fence,
    THREADS.c.settled,
    THREADS.c.last_fence,
    THREADS.c.last_seq,
    THREADS.c.head,
    THREADS.c.created_at,
    THREADS.c.updated_at,
    THREADS.c.deleted_at,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadRow:
    """A thread as SQL has it."""

    key: UUID
    public_id: str
    agent: str
    title: str | None
    project_id: UUID | None
    fence: int
    settled: int
    last_fence: int
    last_seq: int
    head: str | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    @property
    def last(self) -> Position:
        """Position of the newest settled event."""
        return Position(self.last_fence, self.last_seq)


def _thread(row: Row[*tuple[Any, ...]]) -> ThreadRow:
    return ThreadRow(**row._mapping)


#: Parameters of `_MINE`; statements are built once, for building costs more than running them.
_MINE = (THREADS.c.user_id == bindparam("user")) & (THREADS.c.public_id == bindparam("thread"))
_FIND = select(*_COLUMNS).where(_MINE, THREADS.c.deleted_at.is_(None))
_LOCK = select(*_COLUMNS).where(_MINE).with_for_update(key_share=True)
_MAKE = insert(THREADS).on_conflict_do_nothing().returning(*_COLUMNS)
_RENAME = (
    update(THREADS)
    .where(_MINE, THREADS.c.deleted_at.is_(None))
    .values(title=bindparam("new_title"), updated_at=func.now())
    .returning(*_COLUMNS)
)


async def find(db: AsyncConnection, user: UUID, public_id: str) -> ThreadRow | None:
    """A person's thread, unless it was deleted."""
    row = (await db.execute(_FIND, {"user": user, "thread": public_id})).one_or_none()
    return _thread(row) if row else None


async def lock(db: AsyncConnection, user: UUID, public_id: str) -> ThreadRow | None:
    """Lock a thread's row, deleted or not: the one lock of its runs.

    `FOR NO KEY UPDATE` lets rows that refer to the thread be inserted meanwhile.
    """
    row = (await db.execute(_LOCK, {"user": user, "thread": public_id})).one_or_none()
    return _thread(row) if row else None


async def make(
    db: AsyncConnection, user: UUID, public_id: str, agent: str, title: str | None = None
) -> ThreadRow | None:
    """Insert a thread, which locks it; `None` where somebody else just made it."""
    values = {"id": uuid7(), "user_id": user, "public_id": public_id}
    row = (await db.execute(_MAKE, values | {"agent": agent, "title": title})).one_or_none()
    return _thread(row) if row else None


async def page(
    db: AsyncConnection, user: UUID, *, limit: int, before: tuple[datetime, UUID] | None
) -> list[ThreadRow]:
    """A person's threads, the last changed first."""
    query = (
        select(*_COLUMNS)
        .where(THREADS.c.user_id == user, THREADS.c.deleted_at.is_(None))
        .order_by(THREADS.c.updated_at.desc(), THREADS.c.id.desc())
        .limit(limit)
    )
    if before:
        query = query.where(tuple_(THREADS.c.updated_at, THREADS.c.id) < tuple_(*before))
    return [_thread(row) for row in await db.execute(query)]


async def rename(
    db: AsyncConnection, user: UUID, public_id: str, title: str | None
) -> ThreadRow | None:
    """Give a thread another title."""
    values = {"user": user, "thread": public_id, "new_title": title}
    row = (await db.execute(_RENAME, values)).one_or_none()
    return _thread(row) if row else None


async def mark_deleted(db: AsyncConnection, key: UUID) -> None:
    """Hide a thread from everybody."""
    await db.execute(update(THREADS).where(THREADS.c.id == key).values(deleted_at=func.now()))
