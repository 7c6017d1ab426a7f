"""Stored events, by thread or by run, in id order. Only settled fences are shown."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import EVENTS, RUNS
from gateway.store.threads import ThreadRow
from shared.db.conversations import RunStatus
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.position import START, Position


class StoredEvent(NamedTuple):
    """A row: one event, or adjacent deltas joined, which count as their last; `data` is JSON."""

    fence: int
    seq: int
    seq_to: int
    data: str

    @property
    def cursor(self) -> str:
        """Where a reader stands who has this row."""
        return str(Position(self.fence, self.seq_to))


_ROW = (EVENTS.c.fence, EVENTS.c.seq, EVENTS.c.seq_to, EVENTS.c.data)
_place = tuple_(EVENTS.c.fence, EVENTS.c.seq)


async def of_thread(
    db: AsyncConnection, thread: UUID, settled: int, after: Position, limit: int
) -> Sequence[StoredEvent]:
    """The thread's events after a position."""
    return await _read(db, EVENTS.c.thread_id == thread, settled, after, limit)


async def of_run(
    db: AsyncConnection, run: UUID, settled: int, after: Position, limit: int
) -> Sequence[StoredEvent]:
    """The run's events after a position."""
    return await _read(db, EVENTS.c.run_id == run, settled, after, limit)


async def last_of(db: AsyncConnection, run: UUID) -> str | None:
    """The newest event of a run, as JSON; `None` where there is none, or it was deleted."""
    query = (
        select(EVENTS.c.data)
        .where(EVENTS.c.run_id == run)
        .order_by(EVENTS.c.fence.desc(), EVENTS.c.seq.desc())
        .limit(1)
    )
    return (await db.execute(query)).scalar_one_or_none() or None


async def _read(
    db: AsyncConnection, whose: ColumnElement[bool], settled: int, after: Position, limit: int
) -> Sequence[StoredEvent]:
    query = (
        select(*_ROW)
        .where(whose, EVENTS.c.fence <= settled, _place > tuple_(*after))
        .order_by(EVENTS.c.fence, EVENTS.c.seq)
        .limit(limit)
    )
    return [StoredEvent(*row) for row in await db.execute(query)]


_HEAD = text("SELECT fence, seq FROM heads WHERE thread_id = :thread")


async def deleted_until(db: AsyncConnection, thread: UUID) -> Position:
    """The newest event that retention has deleted; `START` where it has none."""
    head = (await db.execute(_HEAD, {"thread": thread})).one_or_none()
    return Position(*head) if head else START


async def check_cursor(db: AsyncConnection, thread: ThreadRow, after: Position) -> None:
    """Make sure that a position can be one that this thread has shown.

    While a run goes on, events of the newest fence may be shown that SQL does not hold yet.

    Raises:
        BatonError: BAD_CURSOR for a position in the future, inside a row of joined deltas, or
            before what retention has left.
    """
    if after == START:
        return
    deleted = await deleted_until(db, thread.key)
    if after == deleted:
        return
    if after < deleted:
        raise BatonError(Code.BAD_CURSOR, "Events after the cursor were deleted; begin anew.")
    query = (
        select(EVENTS.c.seq_to)
        .where(
            EVENTS.c.thread_id == thread.key,
            EVENTS.c.fence == after.fence,
            EVENTS.c.seq <= after.seq,
        )
        .order_by(EVENTS.c.seq.desc())
        .limit(1)
    )
    reaches = (await db.execute(query)).scalar_one_or_none()
    if reaches == after.seq:
        return
    if reaches is not None and reaches > after.seq:
        raise BatonError(Code.BAD_CURSOR, "The cursor lies inside joined text; begin anew.")
    if after.fence != thread.fence or not await _runs_now(db, thread.key):
        raise BatonError(Code.BAD_CURSOR)


async def _runs_now(db: AsyncConnection, thread: UUID) -> bool:
    query = (
        select(RUNS.c.id)
        .where(RUNS.c.thread_id == thread, RUNS.c.status == RunStatus.RUNNING)
        .limit(1)
    )
    return (await db.execute(query)).one_or_none() is not None
