"""Files of runs: what tools make, and results too large for a model, which it is given cut."""

from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import BatonError, FencedError
from shared.media import MAX_FILE_BYTES, file_name, media_type_of
from shared.protocol.codes import Code
from shared.protocol.ids import uuid7
from shared.tokens import RunClaims
from shared.web.files import file_id, file_link

#: Made by one call.
MOST_FILES = 20

# The commit of a settled effect may be repeated when its answer was lost.
_KEEP = text("""
    INSERT INTO files (id, user_id, thread_id, root_id, name, media_type, size, sha256, content)
    VALUES (:id, :user, :thread, :root, :name, :media_type, :size, :sha256, :content)
    ON CONFLICT (id) DO NOTHING
""")
_LIVES = """
    SELECT EXISTS (
        SELECT FROM threads JOIN runs ON runs.thread_id = threads.id
        WHERE threads.id = :thread AND threads.fence = :fence AND runs.id = :run
            AND runs.fence = :fence AND runs.status = 'running' AND runs.root_id = :root
            AND runs.user_id = :user
    ) AS permitted
"""
_PERMITTED = text(_LIVES)
_READ = text(f"""
    {_LIVES}, files.media_type, files.content
    FROM (SELECT) AS one
    LEFT JOIN files ON files.id = :id AND files.user_id = :user
        AND (files.root_id = :root OR files.thread_id = :thread)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file to be."""

    media_type: str
    content: bytes = field(repr=False)
    name: str | None = None
    id: UUID = field(default_factory=uuid7)


def new_file(name: str, content: bytes | str, *, media_type: str | None = None) -> NewFile:
    """A file for the person; `media_type` tells kinds of text apart, its bytes say the rest.

    Raises:
        ValueError: it is empty or too large, or its name is.
    """
    raw = content.encode() if isinstance(content, str) else bytes(content)
    called = file_name(name)
    if called is None:
        raise ValueError("a file needs a name")
    if not 0 < len(raw) <= MAX_FILE_BYTES:
        raise ValueError(f"a file has 1 to {MAX_FILE_BYTES:,} bytes, not {len(raw):,}")
    kind = media_type_of(raw, said=media_type, name=called)
    return NewFile(media_type=kind, content=raw, name=called)


class MadeFiles:
    """What one call makes: kept with its result, once however often it is repeated."""

    def __init__(self) -> None:
        self.made: list[NewFile] = []

    def put(self, name: str, content: bytes | str, *, media_type: str | None = None) -> str:
        """Keep a file for the person; the text that stands for it, for the tool's result.

        Raises:
            ValueError: it is empty or too large, has no name, or is one too many.
        """
        if len(self.made) >= MOST_FILES:
            raise ValueError(f"a call makes {MOST_FILES} files at most")
        file = new_file(name, content, media_type=media_type)
        self.made.append(file)
        return file_link(file.id, file.name)


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
            "name": file.name,
            "media_type": file.media_type,
            "size": len(file.content),
            "sha256": sha256(file.content).digest(),
            "content": file.content,
        },
    )


async def keep_own(
    connection: AsyncConnection, claims: RunClaims, file: NewFile, *, scope: str
) -> UUID:
    """Store what a run's own code has made; its key follows from where it was made, and what it is.

    Raises:
        FencedError: as `read`.
    """
    content = sha256(file.content).digest()
    parts = (claims.root.bytes, scope.encode(), (file.name or "").encode(), content)
    key = UUID(bytes=sha256(b"".join(sha256(one).digest() for one in parts)).digest()[:16])
    if not (await connection.execute(_PERMITTED, _asked(claims))).scalar_one():
        raise FencedError(claims.fence)
    await keep(connection, claims, replace(file, id=key))
    return key


async def read(connection: AsyncConnection, claims: RunClaims, key: UUID) -> tuple[str, bytes]:
    """Media type and bytes of a file of the run's thread, or that a run it continues has made.

    Raises:
        FencedError: the run's claim is not the thread's newest any more, or the run is over.
        BatonError: NOT_FOUND.
    """
    row = (await connection.execute(_READ, _asked(claims) | {"id": key})).one()
    if not row.permitted:
        raise FencedError(claims.fence)
    if row.content is None:
        raise BatonError(Code.NOT_FOUND)
    return row.media_type, row.content


def _asked(claims: RunClaims) -> dict[str, Any]:
    return {
        "thread": claims.thread,
        "run": claims.run,
        "root": claims.root,
        "user": claims.user,
        "fence": claims.fence,
    }
