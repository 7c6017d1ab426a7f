"""Results that are too large for a model: kept whole as a file, and given to it cut."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import BatonError, FencedError
from shared.protocol.codes import Code
from shared.protocol.ids import uuid7
from shared.tokens import RunClaims
from shared.web.files import file_id

# The commit of a settled effect may be repeated when its answer was lost.
_KEEP = text("""
    INSERT INTO files (id, user_id, thread_id, root_id, media_type, size, sha256, content)
    VALUES (:id, :user, :thread, :root, :media_type, :size, :sha256, :content)
    ON CONFLICT (id) DO NOTHING
""")
_READ = text("""
    SELECT EXISTS (
        SELECT FROM threads JOIN runs ON runs.thread_id = threads.id
        WHERE threads.id = :thread AND threads.fence = :fence AND runs.id = :run
            AND runs.fence = :fence AND runs.status = 'running' AND runs.root_id = :root
            AND runs.user_id = :user
    ) AS permitted, files.media_type, files.content
    FROM (SELECT) AS one
    LEFT JOIN files ON files.id = :id AND files.user_id = :user
        AND (files.root_id = :root OR files.thread_id = :thread)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file to be."""

    media_type: str
    content: bytes = field(repr=False)
    id: UUID = field(default_factory=uuid7)


def file_of(value: Any, encoded: bytes) -> NewFile:
    """A tool's result as a file: text as it is, the rest as the JSON that it was `encoded` as."""
    if isinstance(value, str):
        return NewFile(media_type="text/plain; charset=utf-8", content=value.encode())
    return NewFile(media_type="application/json", content=encoded)


def cut(file: NewFile, *, most: int) -> str:
    """The file's beginning as a JSON string of at most `most` bytes, which says what it is."""
    whole = len(file.content)
    room = most * 4 // 5  # the rest is for the remark, and for escapes
    while True:
        shown = file.content[:room].decode(errors="ignore")
        remark = (
            f"\n[cut: the first {len(shown.encode()):,} of {whole:,} bytes are shown; "
            f"the whole result is file {file_id(file.id)}]"
        )
        result = to_json(shown + remark)
        if len(result) <= most:
            return result.decode()
        room = room * most // len(result)


async def keep(connection: AsyncConnection, claims: RunClaims, file: NewFile) -> None:
    """Store a file that a run has made."""
    await connection.execute(
        _KEEP,
        {
            "id": file.id,
            "user": claims.user,
            "thread": claims.thread,
            "root": claims.root,
            "media_type": file.media_type,
            "size": len(file.content),
            "sha256": sha256(file.content).digest(),
            "content": file.content,
        },
    )


async def read(connection: AsyncConnection, claims: RunClaims, key: UUID) -> tuple[str, bytes]:
    """Media type and bytes of a file of the run's thread, or that a run it continues has made.

    Raises:
        FencedError: the run's claim is not the thread's newest any more, or the run is over.
        BatonError: NOT_FOUND.
    """
    asked = {
        "id": key,
        "thread": claims.thread,
        "run": claims.run,
        "root": claims.root,
        "user": claims.user,
        "fence": claims.fence,
    }
    row = (await connection.execute(_READ, asked)).one()
    if not row.permitted:
        raise FencedError(claims.fence)
    if row.content is None:
        raise BatonError(Code.NOT_FOUND)
    return row.media_type, row.content
