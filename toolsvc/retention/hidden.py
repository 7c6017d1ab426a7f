"""Deleting the hidden threads of calls that named none, with everything they have.

What there may be much of goes first, a batch at a time and as retention deletes it elsewhere; the
rest goes with the thread's row. Files that other threads show are copies of their own there.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.signing import SigningKey
from toolsvc.retention.events import delete_oldest
from toolsvc.retention.journal import Table, delete_rows
from toolsvc.retention.waiting import KEPT, PAGE, made_before

_TABLES: tuple[Table, ...] = ("steps", "spans", "effects", "files")

_PAGE = text("""
    SELECT id FROM threads WHERE hidden AND id > :after AND id < :young ORDER BY id LIMIT :page
""")
_OVER = f"""
    NOT EXISTS (SELECT FROM runs AS r WHERE r.thread_id = :thread AND {KEPT})
"""
_ROOTS = text(f"""
    SELECT DISTINCT root_id FROM runs WHERE thread_id = :thread AND {_OVER}
""")  # noqa: S608
# Who submits to it, or has a run of it, holds its lock; then the next pass comes again.
_LOCK = text("SELECT FROM threads WHERE id = :thread AND hidden FOR UPDATE SKIP LOCKED")
# Events stay where they do not fit their chain, and so does all that tells whose they are.
_DELETE = text(f"""
    DELETE FROM threads WHERE id = :thread AND {_OVER}
        AND NOT EXISTS (SELECT FROM events WHERE thread_id = :thread)
""")  # noqa: S608


async def old_hidden_threads(engine: AsyncEngine, before: datetime) -> AsyncIterator[UUID]:
    """Hidden threads that were made before a moment, the oldest first."""
    after, young = UUID(int=0), made_before(before)
    while True:
        async with engine.connect() as db:
            found = await db.execute(_PAGE, {"after": after, "young": young, "page": PAGE})
            page = list(found.scalars())
        for thread in page:
            yield thread
        if len(page) < PAGE:
            return
        after = page[-1]


async def delete_batch(
    engine: AsyncEngine, thread: UUID, before: datetime, key: SigningKey | None
) -> tuple[str, int]:
    """Delete a batch of a thread whose last run ended before a moment: the table, and its rows.

    In the end that is the thread itself. 0 rows where there is nothing to do (now).
    """
    given = {"thread": thread, "before": before}
    async with engine.connect() as db:
        roots = list((await db.execute(_ROOTS, given)).scalars())
    if not roots:
        return "threads", 0
    if deleted := await delete_oldest(engine, thread, before, key):
        return "events", deleted
    for table in _TABLES:
        for root in roots:
            if deleted := await delete_rows(engine, table, root, before):
                return table, deleted
    async with engine.begin() as db:
        if (await db.execute(_LOCK, {"thread": thread})).one_or_none() is None:
            return "threads", 0
        return "threads", (await db.execute(_DELETE, given)).rowcount
