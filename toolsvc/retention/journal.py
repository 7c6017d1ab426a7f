"""Deleting what hangs on a root run: its steps, spans, effects and files."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from toolsvc.retention.waiting import KEPT, MOST_ROWS, PAGE, made_before

#: Tables whose rows belong to a root run.
Table = Literal["steps", "spans", "effects", "files"]

# One step into the primary key or the index for each root, however many rows it has.
_ROOTS = """
    WITH RECURSIVE roots (id, number) AS (
        (SELECT root_id, 1 FROM {table} WHERE root_id > :after ORDER BY root_id LIMIT 1)
        UNION ALL
        SELECT (
            SELECT root_id FROM {table} WHERE root_id > roots.id ORDER BY root_id LIMIT 1
        ), number + 1 FROM roots WHERE roots.id < :young AND number < :page
    )
    SELECT id FROM roots WHERE id < :young ORDER BY id
"""
# Whoever changes a run's state holds its thread; where somebody does, the next pass comes again.
_LOCK = text("""
    SELECT threads.id FROM runs JOIN threads ON threads.id = runs.thread_id
    WHERE runs.id = :root FOR NO KEY UPDATE OF threads SKIP LOCKED
""")
_KEPT = text(f"""
    SELECT EXISTS (
        SELECT FROM runs AS r WHERE r.thread_id = :thread AND r.root_id = :root AND {KEPT}
    )
""")  # noqa: S608
# Said before the first row goes: half a journal must not be replayed.
_FORGET = text("""
    UPDATE runs SET forgotten = array_append(forgotten, :table)
    WHERE id = :root AND NOT :table = ANY(COALESCE(forgotten, '{}'))
""")
_DELETE = """
    DELETE FROM {table} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {table} WHERE root_id = :root LIMIT :most FOR UPDATE
    ))
"""


async def old_roots(engine: AsyncEngine, table: Table, before: datetime) -> AsyncIterator[UUID]:
    """Root runs with rows in a table, made before a moment; the oldest first."""
    query = text(_ROOTS.format(table=table))
    after, young = UUID(int=0), made_before(before)
    while True:
        async with engine.connect() as db:
            found = await db.execute(query, {"after": after, "young": young, "page": PAGE})
            page = list(found.scalars())
        for root in page:
            yield root
        if len(page) < PAGE:
            return
        after = page[-1]


async def delete_rows(engine: AsyncEngine, table: Table, root: UUID, before: datetime) -> int:
    """Delete up to `MOST_ROWS` rows of a root run, all of whose runs ended before a moment.

    0 where it has none, or is not to be touched (now).
    """
    async with engine.begin() as db:
        thread = (await db.execute(_LOCK, {"root": root})).scalar_one_or_none()
        if thread is None:
            return 0
        given = {"thread": thread, "root": root, "before": before}
        if (await db.execute(_KEPT, given)).scalar_one():
            return 0
        await db.execute(_FORGET, {"root": root, "table": table})
        deleted = await db.execute(
            text(_DELETE.format(table=table)), {"root": root, "most": MOST_ROWS}
        )
        return deleted.rowcount
