"""What the relay asks SQL."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.relay.feed import SqlRow
from shared.protocol.position import START, Position

# One statement, so that `settled` and the rows belong together. A row that ends after the cursor
# is wanted although it may begin before it.
_ROWS = text("""
    SELECT threads.settled, heads.fence AS kept_fence, heads.seq AS kept_seq,
        events.fence, events.seq, events.seq_to, events.data
    FROM threads LEFT JOIN heads ON heads.thread_id = threads.id LEFT JOIN LATERAL (
        SELECT fence, seq, seq_to, data FROM events
        WHERE events.thread_id = threads.id AND events.fence <= threads.settled
            AND events.hash IS NOT NULL
            AND (events.fence > :fence OR (events.fence = :fence AND events.seq_to > :seq))
        ORDER BY fence, seq LIMIT :limit
    ) AS events ON true
    WHERE threads.id = :thread ORDER BY events.fence, events.seq
""")

# Uses the index threads_by_commit; idle threads cost nothing.
_COMMITTED = text("""
    SELECT id, last_fence, last_seq FROM threads
    WHERE committed_at > now() - make_interval(secs => :since)
""")


class Stored(NamedTuple):
    """A page of what SQL holds of a thread."""

    settled: int
    #: The newest event that retention has deleted; `START` where it has none.
    deleted: Position
    rows: list[SqlRow]


async def read_rows(db: AsyncConnection, thread: UUID, after: Position, *, limit: int) -> Stored:
    """Up to `limit` stored rows that end after a position."""
    found = (
        await db.execute(
            _ROWS, {"thread": thread, "fence": after.fence, "seq": after.seq, "limit": limit}
        )
    ).all()
    rows = [SqlRow(r.fence, r.seq, r.seq_to, r.data) for r in found if r.fence is not None]
    if not found:
        return Stored(0, START, rows)
    deleted = Position(found[0].kept_fence or 0, found[0].kept_seq or 0)
    return Stored(found[0].settled, deleted, rows)


async def threads_committed(db: AsyncConnection, within_s: float) -> dict[UUID, Position]:
    """Threads that committed events lately, and their newest settled position."""
    found = await db.execute(_COMMITTED, {"since": within_s})
    return {row.id: Position(row.last_fence, row.last_seq) for row in found}
