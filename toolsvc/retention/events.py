"""Deleting a thread's oldest events, so that the chain of the others can still be verified.

Only whole runs go, from the beginning on: a chain has no holes. What is left of them is the head,
which says where the chain stood, and is signed. Rows that do not fit the chain are not deleted:
the signature would vouch for what somebody made of them.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.chain import BEGINNING, linked
from shared.protocol.position import Position
from shared.receipts import canonical, signed_head
from shared.signing import SigningKey
from shared.telemetry.logs import get_logger
from toolsvc.retention.waiting import KEPT, MOST_ROWS, PAGE, made_before

log = get_logger(__name__)


class _Row(NamedTuple):
    fence: int
    seq: int
    seq_to: int
    type: str
    digest: bytes
    hash: bytes | None
    intact: bool


class _Head(NamedTuple):
    fence: int
    seq: int
    hash: bytes
    rows: int


# The first row of each thread, found by the primary key; only it can be the oldest.
_THREADS = text("""
    WITH RECURSIVE firsts (thread_id, run_id, number) AS (
        (
            SELECT thread_id, run_id, 1 FROM events WHERE thread_id > :after
            ORDER BY thread_id, fence, seq LIMIT 1
        )
        UNION ALL
        SELECT next.thread_id, next.run_id, number + 1 FROM firsts CROSS JOIN LATERAL (
            SELECT thread_id, run_id FROM events WHERE events.thread_id > firsts.thread_id
            ORDER BY thread_id, fence, seq LIMIT 1
        ) AS next
        WHERE firsts.thread_id < :young AND number < :page
    )
    SELECT firsts.thread_id, runs.ended_at < :before FROM firsts
    LEFT JOIN runs ON runs.id = firsts.run_id
    WHERE firsts.thread_id < :young ORDER BY firsts.thread_id
""")
_LOCK = text("""
    SELECT public_id, settled, now() FROM threads
    WHERE id = :thread FOR NO KEY UPDATE SKIP LOCKED
""")
# Of the first run that stays, and of a root that stays all runs stay.
_END = text(f"""
    SELECT min(mine.first_fence) FROM runs AS mine WHERE mine.thread_id = :thread AND EXISTS (
        SELECT FROM runs AS r
        WHERE r.thread_id = :thread AND r.root_id = mine.root_id AND {KEPT}
    )
""")  # noqa: S608
# Without statistics Postgres would read all rows of a thread and sort them, for each batch.
_BY_INDEX = text("SET LOCAL enable_sort = off")
# From the head on, so that rows deleted before and not vacuumed yet are not passed again.
_OLDEST = text("""
    SELECT fence, seq, seq_to, type, digest, hash,
        digest = sha256(salt || convert_to(data, 'UTF8')) OR salt = '' AND data = '' AS intact
    FROM events WHERE thread_id = :thread AND fence < :end AND (fence, seq) > (:fence, :seq)
    ORDER BY fence, seq LIMIT :most
""")
_HEAD = text("SELECT fence, seq, hash, rows FROM heads WHERE thread_id = :thread")
_DELETE = text("""
    DELETE FROM events WHERE thread_id = :thread AND (fence, seq) <= (:fence, :seq)
""")
_KEEP = text("""
    INSERT INTO heads (thread_id, fence, seq, hash, rows, signed)
    VALUES (:thread, :fence, :seq, :hash, :rows, :signed)
    ON CONFLICT (thread_id) DO UPDATE SET fence = excluded.fence, seq = excluded.seq,
        hash = excluded.hash, rows = excluded.rows, signed = excluded.signed
""")


async def old_threads(engine: AsyncEngine, before: datetime) -> AsyncIterator[UUID]:
    """Threads whose oldest event is of a run that ended before a moment."""
    after, young = UUID(int=0), made_before(before)
    while True:
        async with engine.connect() as db:
            given = {"after": after, "young": young, "page": PAGE, "before": before}
            page = (await db.execute(_THREADS, given)).all()
        for thread, old in page:
            if old:
                yield thread
        if len(page) < PAGE:
            return
        after = page[-1][0]


async def delete_oldest(
    engine: AsyncEngine, thread: UUID, before: datetime, key: SigningKey | None
) -> int:
    """Delete up to `MOST_ROWS` of a thread's oldest events, of runs that ended before a moment.

    0 where it has none, or is not to be touched (now).
    """
    async with engine.begin() as db:
        locked = (await db.execute(_LOCK, {"thread": thread})).one_or_none()
        if locked is None:
            return 0
        name, settled, now = locked
        given = {"thread": thread, "before": before}
        end = (await db.execute(_END, given)).scalar_one()
        end = settled + 1 if end is None else end
        head = await _head(db, thread)
        rows = await _oldest(db, thread, head, end)
        if not rows:
            return 0
        following = _beyond(head, rows)
        if following is None:
            log.error("events are kept that do not fit their chain", thread=name)
            return 0
        await _delete(db, thread, rows[-1], following, _said(name, following, now, key))
    return len(rows)


async def _head(db: AsyncConnection, thread: UUID) -> _Head:
    found = (await db.execute(_HEAD, {"thread": thread})).one_or_none()
    return _Head(*found) if found else _Head(0, 0, BEGINNING, 0)


async def _oldest(db: AsyncConnection, thread: UUID, head: _Head, end: int) -> list[_Row]:
    await db.execute(_BY_INDEX)
    place = {"fence": head.fence, "seq": head.seq, "end": end, "most": MOST_ROWS}
    return [_Row(*row) for row in await db.execute(_OLDEST, {"thread": thread, **place})]


def _beyond(head: _Head, rows: Sequence[_Row]) -> _Head | None:
    """The head after some rows; `None` where the chain does not hold."""
    last = head.hash
    for row in rows:
        last = linked(last, f"{row.fence}-{row.seq}", row.seq_to, row.type, row.digest)
        if row.hash != last or not row.intact:
            return None
    return _Head(rows[-1].fence, rows[-1].seq_to, last, head.rows + len(rows))


def _said(name: str, head: _Head, now: datetime, key: SigningKey | None) -> str | None:
    if key is None:
        return None
    last = str(Position(head.fence, head.seq))
    said = signed_head(thread=name, last=last, rows=head.rows, chain=head.hash, at=now, key=key)
    return canonical(said).decode()


async def _delete(
    db: AsyncConnection, thread: UUID, last: _Row, head: _Head, signed: str | None
) -> None:
    await db.execute(_DELETE, {"thread": thread, "fence": last.fence, "seq": last.seq})
    await db.execute(_KEEP, {"thread": thread, "signed": signed, **head._asdict()})
