"""Files of people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import FILES, THREADS
from shared.db.direct import Transaction
from shared.db.line import Statement
from shared.web.ranges import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """A file without its bytes; `thread` is the public id of where it belongs."""

    key: UUID
    name: str | None
    media_type: str
    size: int
    sha256: bytes
    thread: str | None
    created_at: datetime


_READING = (
    select(
        FILES.c.id.label("key"),
        FILES.c.name,
        FILES.c.media_type,
        FILES.c.size,
        FILES.c.sha256,
        THREADS.c.public_id.label("thread"),
        FILES.c.created_at,
    )
    .outerjoin(THREADS, THREADS.c.id == FILES.c.thread_id)
    .where(THREADS.c.deleted_at.is_(None))
)
# Two uploads at once must not both find the room that is left for one.
_LOCK = text("SELECT FROM users WHERE id = :user FOR NO KEY UPDATE")
_STORE = text("""
    INSERT INTO files (id, user_id, name, media_type, size, sha256, content)
    SELECT :key, :user, :name, :media_type, :size, :sha256, :content
    WHERE :size + (
        SELECT COALESCE(sum(size), 0) FROM files WHERE user_id = :user
    ) <= :quota
    RETURNING created_at
""")
_FORGET = Statement("DELETE FROM files WHERE thread_id = :thread")


async def store(
    db: AsyncConnection,
    user: UUID,
    key: UUID,
    *,
    name: str | None,
    media_type: str,
    content: bytes,
    quota: int,
) -> FileRow | None:
    """Keep what a person brings; `None` where it would take more room than they have."""
    values: dict[str, Any] = {
        "key": key,
        "name": name,
        "media_type": media_type,
        "size": len(content),
        "sha256": sha256(content).digest(),
    }
    await db.execute(_LOCK, {"user": user})
    more = {"user": user, "content": content, "quota": quota}
    made = (await db.execute(_STORE, values | more)).scalar_one_or_none()
    return FileRow(**values, thread=None, created_at=made) if made else None


async def content(db: AsyncConnection, user: UUID, key: UUID, part: Part | None) -> bytes | None:
    """The bytes of a person's file, or a part of them; `None` where it is gone."""
    wanted: Any = FILES.c.content
    if part is not None:
        wanted = func.substring(wanted, part.first + 1, part.last - part.first + 1)
    query = select(wanted).where(FILES.c.id == key, FILES.c.user_id == user)
    found: bytes | None = (await db.execute(query)).scalar_one_or_none()
    return found


async def about(db: AsyncConnection, user: UUID, key: UUID) -> FileRow | None:
    """What is known of a person's file."""
    query = _READING.where(FILES.c.id == key, FILES.c.user_id == user)
    row = (await db.execute(query)).one_or_none()
    return FileRow(**row._mapping) if row else None


async def page(
    db: AsyncConnection, user: UUID, *, limit: int, before: tuple[datetime, UUID] | None
) -> Sequence[FileRow]:
    """A person's files, the newest first."""
    query = _READING.where(FILES.c.user_id == user)
    query = query.order_by(FILES.c.created_at.desc(), FILES.c.id.desc()).limit(limit)
    if before:
        moment, key = before
        older = (FILES.c.created_at < moment) | (
            (FILES.c.created_at == moment) & (FILES.c.id < key)
        )
        query = query.where(older)
    return [FileRow(**row._mapping) for row in await db.execute(query)]


async def remove(db: AsyncConnection, user: UUID, key: UUID) -> bool:
    """Delete a person's file for good; false where there is none such."""
    statement = delete(FILES).where(FILES.c.id == key, FILES.c.user_id == user)
    return (await db.execute(statement.returning(FILES.c.id))).one_or_none() is not None


def forget(db: Transaction, thread: UUID) -> None:
    """Delete what belongs to a thread that is deleted."""
    db.add(_FORGET(thread=thread))
