"""Stored events of a thread or a run. They are passed on as they lie in SQL, unparsed."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field
from starlette.responses import Response

from gateway.api.routing import PathId, SignedIn, WithServices, api_router
from gateway.api.shapes import Page, Shape
from gateway.store import events, runs, threads
from gateway.store.events import StoredEvent
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.position import START, Position, parse_position

router = api_router("events")

After = Annotated[
    str | None, Query(description="Cursor `<fence>-<seq>`; only later events are answered.")
]
EventLimit = Annotated[int, Query(ge=1, le=1000, description="At most so many.")]


class PlacedEvent(Shape):
    """An AG-UI event and where it stands; adjacent deltas of a message are one event here."""

    id: str = Field(examples=["3-17"])
    event: dict[str, Any] = Field(
        examples=[{"type": "RUN_FINISHED", "threadId": "thr_1", "runId": "run_1"}]
    )


@router.get(
    "/threads/{id}/events", operation_id="listThreadEvents", response_model=Page[PlacedEvent]
)
async def thread_events(
    thread_id: PathId,
    caller: SignedIn,
    services: WithServices,
    after: After = None,
    limit: EventLimit = 200,
) -> Response:
    """Read a thread's stored events in order, from the oldest kept or after a cursor."""
    position = _position(after)
    async with services.db.reading(caller.user_id) as db:
        thread = await threads.find(db, caller.user_id, thread_id)
        if thread is None:
            raise BatonError(Code.NOT_FOUND)
        await events.check_cursor(db, thread, position)
        rows = await events.of_thread(db, thread.key, thread.settled, position, limit + 1)
    return _page(rows, limit)


@router.get("/runs/{id}/events", operation_id="listRunEvents", response_model=Page[PlacedEvent])
async def run_events(
    run_id: PathId,
    caller: SignedIn,
    services: WithServices,
    after: After = None,
    limit: EventLimit = 200,
) -> Response:
    """Read a run's stored events in order; the cursors are those of its thread."""
    position = _position(after)
    async with services.db.reading(caller.user_id) as db:
        run = await runs.find(db, caller.user_id, run_id)
        thread = await threads.find(db, caller.user_id, run.thread) if run else None
        if run is None or thread is None:
            raise BatonError(Code.NOT_FOUND)
        deleted = await events.deleted_until(db, thread.key)
        if run.first_fence is not None and run.first_fence <= deleted.fence:
            raise BatonError(Code.GONE, "The run's events were deleted.")
        await events.check_cursor(db, thread, position)
        rows = await events.of_run(db, run.key, thread.settled, position, limit + 1)
    return _page(rows, limit)


def _position(after: str | None) -> Position:
    position = START if after is None else parse_position(after)
    if position is None:
        raise BatonError(Code.BAD_CURSOR)
    return position


def _page(rows: Sequence[StoredEvent], limit: int) -> Response:
    shown = rows[:limit]
    data = ",".join(f'{{"id":"{row.cursor}","event":{row.data}}}' for row in shown)
    following = f'"{shown[-1].cursor}"' if len(rows) > limit else "null"
    body = f'{{"data":[{data}],"next":{following}}}'
    return Response(body, media_type="application/json")
