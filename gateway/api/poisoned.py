"""Poisoned runs: what killed their processes, and trying them again."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import Query
from pydantic import Field, ValidationError

from gateway.api.routing import Admin, PathId, SignedIn, WithServices, api_router
from gateway.api.runs import AcceptedRun
from gateway.api.shapes import Cursor, Limit, Page, Shape, page_of, parse_time_cursor, time_cursor
from gateway.requeue import requeue
from gateway.store import poisoned
from gateway.store.poisoned import PoisonedRow
from shared.db.conversations import LIVE, RunStatus

router = api_router("operations")


class Death(Shape):
    """How the last process of a run ended."""

    status: str = Field(description="An exit status, or a signal.", examples=["SIGKILL"])
    lines: list[str] = Field(description="The last lines it printed, without secrets.")


class PoisonedRun(Shape):
    """A run that ended every process that carried it."""

    id: str
    email: str = Field(description="Whose run it is.")
    thread_id: str
    agent: str
    reason: str | None
    ended_at: datetime
    death: Death | None = Field(description="Null where nobody was there to see it.")
    requeued_by: str | None = Field(description="The run that tries it again.")

    @classmethod
    def of(cls, row: PoisonedRow) -> Self:
        """As operators see it."""
        return cls(
            id=row.public_id,
            email=row.email,
            thread_id=row.thread,
            agent=row.agent,
            reason=row.message,
            ended_at=row.ended_at,
            death=_death(row.words),
            requeued_by=row.requeued_by,
        )


def _death(words: Any) -> Death | None:
    """What toolsvc kept; `None` too where somebody has altered it by hand."""
    try:
        return Death.model_validate(words) if words else None
    except ValidationError:
        return None


@router.get("/poisoned", operation_id="listPoisoned")
async def list_poisoned(
    caller: Admin,
    services: WithServices,
    limit: Limit = 50,
    cursor: Annotated[Cursor, Query()] = None,
) -> Page[PoisonedRun]:
    """List everybody's poisoned runs, the newest first."""
    before = parse_time_cursor(cursor)
    async with services.db.reading(caller.user_id) as db:
        rows = await poisoned.page(db, limit=limit + 1, before=before[1] if before else None)
    return page_of(
        rows, limit, shape=PoisonedRun.of, cursor=lambda row: time_cursor(row.ended_at, row.key)
    )


@router.post("/runs/{id}/requeue", status_code=202, operation_id="requeueRun")
async def requeue_run(
    run_id: PathId,
    caller: SignedIn,
    services: WithServices,
    user: Annotated[
        str | None, Query(max_length=320, description="E-mail of whose run it is; for admins.")
    ] = None,
    old_code: Annotated[
        bool,
        Query(alias="oldCode", description="With the code it had, where a runner still has that."),
    ] = False,
) -> AcceptedRun:
    """Try a poisoned run again: a new run goes on after its last finished step, alone at first.

    It runs the newest code of its agent; where that does not fit what was done, it ends with
    `journal_diverged`.

    Asked again, it is the same new run. One's own, and for admins everybody's.
    """
    ended, made = await requeue(services, caller, run_id, email=user, old_code=old_code)
    status = RunStatus(made.status)
    return AcceptedRun(
        run_id=made.public_id,
        thread_id=ended.thread,
        status=status,
        queued=status in LIVE and not made.ready,
    )
