"""What can be wrong with stored events: rows are missing, were altered, or the stream has more."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.doctor.finding import Defect, Finding
from shared.bus.connect import Redis
from shared.bus.events import last_of
from shared.protocol.position import Position


class Thread(NamedTuple):
    """A thread that committed events, as far as the doctor looks at it."""

    id: UUID
    public_id: str
    fence: int
    last: Position
    live: bool


#: Threads looked at, those that committed last; and at once, for a look may not take long.
NEWEST, AT_ONCE = 1000, 10

_THREADS = text("""
    SELECT id, public_id, fence, last_fence, last_seq, EXISTS (
        SELECT FROM runs WHERE runs.thread_id = threads.id AND runs.status = 'running'
    ) AS live
    FROM threads WHERE committed_at IS NOT NULL ORDER BY committed_at DESC LIMIT :newest
""")

# The chain of docs/data.md, in SQL. A row follows the one before it: the next seq of its fence, or
# the first of a later one. Behind the last row stands what the thread's own row says of its end.
_BROKEN = text(r"""
    WITH rows AS (
        SELECT events.thread_id, events.fence, seq, seq_to, hash,
            lag(events.fence) OVER w AS fence_before, lag(seq_to) OVER w AS seq_before,
            digest = sha256(salt || convert_to(data, 'UTF8')) OR salt = '' AND data = '' AS intact,
            sha256(
                COALESCE(lag(hash) OVER w, (
                    SELECT heads.hash FROM heads WHERE heads.thread_id = events.thread_id
                ), decode(repeat('00', 32), 'hex'))
                || convert_to(format('%s-%s %s %s ', events.fence, seq, seq_to, type), 'UTF8')
                || digest
            ) AS computed
        FROM events JOIN threads ON threads.id = events.thread_id
        WHERE events.thread_id = ANY(CAST(:threads AS uuid[]))
            AND events.fence <= threads.settled AND hash IS NOT NULL
        WINDOW w AS (PARTITION BY events.thread_id ORDER BY events.fence, seq)
    ), wrong AS (
        SELECT thread_id, fence, seq, CASE
            WHEN NOT intact THEN 'altered'
            WHEN seq <> CASE WHEN fence = fence_before THEN seq_before + 1 ELSE 1 END
                AND fence_before IS NOT NULL THEN 'missing'
            WHEN hash <> computed AND fence_before IS NULL THEN 'missing'
            WHEN hash <> computed THEN 'altered'
        END AS how FROM rows
        UNION ALL
        SELECT id, last_fence, last_seq, 'missing' FROM threads
        WHERE id = ANY(CAST(:threads AS uuid[])) AND chain IS NOT NULL
            AND chain IS DISTINCT FROM COALESCE((
                SELECT hash FROM events
                WHERE thread_id = threads.id AND fence <= threads.settled AND hash IS NOT NULL
                ORDER BY fence DESC, seq DESC LIMIT 1
            ), (SELECT hash FROM heads WHERE thread_id = threads.id))
    )
    SELECT DISTINCT ON (thread_id) thread_id, fence, seq, how FROM wrong
    WHERE how IS NOT NULL ORDER BY thread_id, fence, seq
""")


async def newest_threads(db: AsyncConnection) -> list[Thread]:
    """The threads to look at."""
    return [
        Thread(row.id, row.public_id, row.fence, Position(row.last_fence, row.last_seq), row.live)
        for row in await db.execute(_THREADS, {"newest": NEWEST})
    ]


async def examine_events(db: AsyncConnection, threads: Sequence[Thread]) -> list[Finding]:
    """The first row of each of some threads that is not what was stored."""
    names = {thread.id: thread.public_id for thread in threads}
    rows = await db.execute(_BROKEN, {"threads": list(names)})
    return [_broken(row, names[row.thread_id]) for row in rows]


async def examine_streams(redis: Redis, threads: Sequence[Thread]) -> list[Finding]:
    """Streams that are ahead of SQL: what is published at an end was committed before."""
    lasts = await last_of(redis, [thread.id for thread in threads])
    return [
        Finding(
            defect=Defect.STREAM_AHEAD,
            subject=thread.public_id,
            thread=thread.id,
            at=last,
            detail=f"its last is {last}, that of Postgres {thread.last}",
        )
        for thread in threads
        if (last := lasts.get(thread.id))
        and (last.fence > thread.fence or (not thread.live and last > thread.last))
    ]


def _broken(row: Any, thread: str) -> Finding:
    missing = row.how == "missing"
    return Finding(
        defect=Defect.EVENTS_MISSING if missing else Defect.EVENTS_ALTERED,
        subject=thread,
        thread=row.thread_id,
        detail=f"{'before or at' if missing else 'at'} {row.fence}-{row.seq}",
    )
