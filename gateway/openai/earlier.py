"""Responses that were made before: finding them, and going on from them."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accept import Accepted
from gateway.auth.caller import Caller
from gateway.following import called_off
from gateway.openai.asked import MOST_MESSAGES
from gateway.openai.response import PREFIX
from gateway.openai.submit import Onto, run_of
from gateway.questions import AskedError
from gateway.services import Services
from gateway.store import interrupts, messages, runs, threads
from gateway.store.runs import RunRow
from shared.db.conversations import LIVE, RunStatus
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import is_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A response: its run, then those that have gone on from what it asked, in order.

    `waits`: for a person, who may still decide.
    """

    rows: list[RunRow]
    accepted: Accepted
    waits: bool

    @property
    def row(self) -> RunRow:
        """Its own run."""
        return self.rows[0]

    @property
    def newest(self) -> RunRow:
        """The run that stands for it now."""
        return self.rows[-1]


async def find_response(db: AsyncConnection, caller: Caller, response_id: str) -> Found | None:
    """A person's response, unless it was deleted."""
    run_id = response_id.removeprefix(PREFIX)
    if run_id == response_id or not is_id(run_id):
        return None
    rows = await runs.chain(db, caller.user_id, run_id)
    if not rows or rows[0].deleted_at:
        return None
    row, newest = rows[0], rows[-1]
    thread = await threads.find(db, caller.user_id, row.thread)
    if thread is None:
        return None
    waits = newest.status == RunStatus.INTERRUPTED and not called_off(
        newest, await interrupts.of_run(db, newest.key)
    )
    accepted = Accepted(
        run_key=row.key,
        thread_key=row.thread_key,
        run_id=row.public_id,
        thread_id=row.thread,
        agent=row.agent,
        status=row.status,
        queued=False,
        created=False,
        last=thread.last,
    )
    return Found(rows=rows, accepted=accepted, waits=waits)


def no_such_response() -> BatonError:
    """What a request is told that names a response which is not there."""
    return BatonError(
        Code.NOT_FOUND,
        "There is no such response, or it is not yours.",
        param="previous_response_id",
        reason="previous_response_not_found",
    )


async def going_on(
    services: Services, caller: Caller, previous: Found, key: str | None, *, site: str
) -> Onto:
    """Where a request goes on from a response.

    That is its thread, as long as it is the newest there; else a new one, which begins with all
    that was said until then. A request that was accepted before, by its `key`, stays where it is.

    Raises:
        BatonError: DECISION_NEEDED where the response waits for a person; NOT_SUPPORTED where it
            has not ended, and another one is going on behind it; NOT_FOUND where it is gone by now.
    """
    async with services.db.reading(caller.user_id) as db:
        known = await runs.find(db, caller.user_id, run_of(caller, key)) if key else None
        if known is not None:
            return Onto(thread=known.thread)
        newest = previous.newest
        if previous.waits and (asks := await interrupts.open_of(db, newest.thread_key)):
            raise AskedError(asks, newest.thread, site, kept=False)
        last = await runs.page(db, caller.user_id, limit=1, thread=newest.thread)
        if not last:  # its thread was deleted a moment ago
            raise no_such_response()
        if last[0].key == newest.key:
            return Onto(thread=newest.thread, after=newest.key)
        if newest.status in LIVE:
            raise BatonError(
                Code.NOT_SUPPORTED,
                "previous_response_id: it has not ended, and others wait behind it.",
                param="previous_response_id",
            )
        history = await messages.history_after(db, newest.thread_key, newest.key, MOST_MESSAGES)
    return Onto(history=tuple(history))
