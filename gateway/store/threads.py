"""Threads: making, reading, listing; and the lock of their runs."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, bindparam, func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import THREADS
from shared.db.direct import Transaction
from shared.db.line import Command, Statement
from shared.protocol.ids import uuid7
from shared.protocol.position import Position


class ThreadRow(NamedTuple):
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
    return ThreadRow(*row)


_NAMES = ["id", *ThreadRow._fields[1:]]
_COLUMNS = [THREADS.c[name] for name in _NAMES]
#: Parameters of `_MINE`; statements are built once, for building costs more than running them.
_MINE = (THREADS.c.user_id == bindparam("user")) & (THREADS.c.public_id == bindparam("thread"))
_FIND = select(*_COLUMNS).where(_MINE, THREADS.c.deleted_at.is_(None))
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


_LOCK = Statement(
    f"""
    SELECT {", ".join(_NAMES)} FROM threads
    WHERE user_id = :user AND public_id = :thread FOR NO KEY UPDATE
    """,  # noqa: S608
    ThreadRow._make,
)
_MAKE = Statement(
    f"""
    INSERT INTO threads (id, user_id, public_id, agent, title, hidden)
    VALUES (:id, :user, :thread, :agent, :title, :hidden)
    ON CONFLICT DO NOTHING RETURNING {", ".join(_NAMES)}
    """,  # noqa: S608
    ThreadRow._make,
)
_KEEP = text(
    """
    WITH kept AS (
        UPDATE threads SET hidden = false
        WHERE user_id = :user AND public_id = :thread AND hidden AND deleted_at IS NULL
        RETURNING id
    )
    SELECT EXISTS (SELECT FROM kept) FROM threads
    WHERE user_id = :user AND public_id = :thread AND deleted_at IS NULL
    """
)
_DELETE = Statement("UPDATE threads SET deleted_at = now() WHERE id = :thread")


def lock(db: Transaction, user: UUID, public_id: str) -> Command[ThreadRow]:
    """Lock a thread's row, deleted or not: the one lock of its runs.

    `FOR NO KEY UPDATE` lets rows that refer to the thread be inserted meanwhile.
    """
    return db.add(_LOCK(user=user, thread=public_id))


def make(
    db: Transaction,
    user: UUID,
    public_id: str,
    agent: str,
    title: str | None = None,
    *,
    hidden: bool = False,
) -> Command[ThreadRow]:
    """Insert a thread, which locks it; no row where somebody else just made it."""
    values = {"user": user, "thread": public_id, "agent": agent, "title": title, "hidden": hidden}
    return db.add(_MAKE(id=uuid7(), **values))


def mark_deleted(db: Transaction, key: UUID) -> None:
    """Hide a thread from everybody."""
    db.add(_DELETE(thread=key))


async def page(
    db: AsyncConnection, user: UUID, *, limit: int, before: tuple[datetime, UUID] | None
) -> list[ThreadRow]:
    """A person's threads, the last changed first, without the hidden ones."""
    query = (
        select(*_COLUMNS)
        .where(THREADS.c.user_id == user, THREADS.c.deleted_at.is_(None), ~THREADS.c.hidden)
        .order_by(THREADS.c.updated_at.desc(), THREADS.c.id.desc())
        .limit(limit)
    )
    if before:
        query = query.where(tuple_(THREADS.c.updated_at, THREADS.c.id) < tuple_(*before))
    return [_thread(row) for row in await db.execute(query)]


async def keep(db: AsyncConnection, user: UUID, public_id: str) -> bool | None:
    """List a thread that was hidden until its person named it.

    Whether it was hidden until now; `None` where there is no such thread.
    """
    found = await db.execute(_KEEP, {"user": user, "thread": public_id})
    return found.scalar_one_or_none()


async def rename(
    db: AsyncConnection, user: UUID, public_id: str, title: str | None
) -> ThreadRow | None:
    """Give a thread another title."""
    values = {"user": user, "thread": public_id, "new_title": title}
    row = (await db.execute(_RENAME, values)).one_or_none()
    return _thread(row) if row else None
