"""Files that messages show: each belongs to the thread in which it was sent first."""

from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from gateway.attachments import Attachment
from gateway.intake import NewInput
from shared.db.direct import Transaction
from shared.db.line import Statement
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import uuid7
from shared.web.files import file_id


class _Known(NamedTuple):
    key: UUID
    name: str | None
    media_type: str
    size: int
    thread: UUID | None


# Whoever sends one in another thread at the same time waits, and then finds whose it is.
_NAMED = Statement(
    """
    SELECT files.id, files.name, files.media_type, files.size, files.thread_id
    FROM files LEFT JOIN threads ON threads.id = files.thread_id
    WHERE files.user_id = :user AND files.id = ANY(:keys) AND threads.deleted_at IS NULL
    FOR NO KEY UPDATE OF files
    """,
    _Known._make,
)
_LOCK = Statement("SELECT id FROM users WHERE id = :user FOR NO KEY UPDATE")
_TAKEN = Statement(
    "SELECT CAST(COALESCE(sum(size), 0) AS bigint) FROM files WHERE user_id = :user",
    lambda columns: int(columns[0]),
)
_ADOPT = Statement("UPDATE files SET thread_id = :thread WHERE id = :key")
_COPY = Statement("""
    INSERT INTO files (id, user_id, thread_id, name, media_type, size, sha256, content)
    SELECT :copy, user_id, :thread, name, media_type, size, sha256, content
    FROM files WHERE id = :key
""")
_STORE = Statement("""
    INSERT INTO files (id, user_id, thread_id, name, media_type, size, sha256, content)
    VALUES (:key, :user, :thread, :name, :media_type, :size, :sha256, :content)
""")


async def attach(
    db: Transaction, user: UUID, thread: UUID, new: NewInput, *, quota: int
) -> NewInput:
    """Store what comes along, find what is named, and show all of it in the messages.

    A file that another thread has is copied: it would go with that thread. The caller holds the
    lock of this one.

    Raises:
        BatonError: NOT_FOUND, or QUOTA_EXCEEDED.
    """
    if not new.files:
        return new
    keys = [one.key for one in new.files if one.content is None]
    known = {row.key: row for row in await db.all(_NAMED(user=user, keys=keys))} if keys else {}
    parts: dict[str, Attachment] = {}
    room = 0
    for file in new.files:
        if file.content is not None:
            room += file.size
            db.add(_STORE(**_columns(file, file.content), user=user, thread=thread))
            continue
        if (row := known.get(file.key)) is None:
            if file.shown:
                continue
            id_ = file_id(file.key)
            raise BatonError(Code.NOT_FOUND, f"There is no file {id_}, or it is not yours.")
        if file_id(row.key) in parts:
            continue
        shown = replace(file, name=row.name, media_type=row.media_type, size=row.size)
        if row.thread is None:
            db.add(_ADOPT(key=row.key, thread=thread))
        elif row.thread != thread:
            shown = replace(shown, key=uuid7())
            room += row.size
            db.add(_COPY(copy=shown.key, key=row.key, thread=thread))
        parts[file_id(row.key)] = shown
    if room:
        await _require_room(db, user, quota)
    return new.showing({id_: one.part for id_, one in parts.items()})


async def _require_room(db: Transaction, user: UUID, quota: int) -> None:
    """Judged with what is new: where it is too much, all of it is undone."""
    db.add(_LOCK(user=user))
    taken = await db.one(_TAKEN(user=user))
    if taken is not None and taken > quota:
        raise BatonError(Code.QUOTA_EXCEEDED)


def _columns(file: Attachment, content: bytes) -> dict[str, object]:
    return {
        "key": file.key,
        "name": file.name,
        "media_type": file.media_type,
        "size": file.size,
        "sha256": sha256(content).digest(),
        "content": content,
    }
