"""Following a run exactly: the very events that others were sent, each under its cursor."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.following import Following
from gateway.store import events, threads
from gateway.store.runs import RunRow
from shared.db.conversations import LIVE
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.position import Position


class ExactFollowing(Following):
    """From the run's first event, or `after` one of them; what was deleted cannot be followed."""

    def __init__(self, *args: Any, after: Position | None = None) -> None:
        super().__init__(*args)
        self._after = after

    async def begin(self, *, anew: bool) -> None:  # noqa: ARG002 - it always is
        """Stand where the client stands.

        Raises:
            BatonError: NOT_FOUND; GONE; BAD_CURSOR where it cannot be gone on after that event.
        """
        accepted = self._accepted
        if accepted.created:
            self._relay.place(self._listener, accepted.last, "run")
            return
        async with self._services.db.reading(self._caller.user_id) as db:
            row = await self._run(db, accepted.run_id)
            await _check_kept(db, row)
            await self._require_turn(db, row)
            if self._after:
                await self._check(db, row, self._after)
        cursor = accepted.last if row.first_fence is None else Position(row.first_fence, 0)
        self._begun = self._after is not None
        self._relay.place(self._listener, self._after or cursor, "run")

    async def _check(self, db: AsyncConnection, row: RunRow, after: Position) -> None:
        thread = await threads.find(db, self._caller.user_id, row.thread)
        if thread is None:
            raise BatonError(Code.NOT_FOUND)
        if row.first_fence is None or after < Position(row.first_fence, 1):
            raise BatonError(Code.BAD_CURSOR, "The cursor is not one of this run.")
        await events.check_cursor(db, thread, after)
        if row.status not in LIVE and not await events.of_run(db, row.key, row.settled, after, 1):
            raise BatonError(Code.BAD_CURSOR, "The run has ended with this event.")

    async def _from_the_beginning(self, *, anew: bool = False) -> None:  # noqa: ARG002
        """A client cannot take back what it was told."""
        raise BatonError(Code.UNAVAILABLE, "The events cannot be continued here. Ask again.")


async def _check_kept(db: AsyncConnection, row: RunRow) -> None:
    deleted = await events.deleted_until(db, row.thread_key)
    if row.first_fence is not None and row.first_fence <= deleted.fence:
        raise BatonError(Code.GONE, "The run's events were deleted.")
