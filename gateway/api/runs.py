"""Runs: starting, watching and stopping them without a socket."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field

from gateway.accept import accept_run
from gateway.api.routing import PathId, SignedIn, WithServices, api_router
from gateway.api.shapes import (
    Body,
    Cursor,
    Limit,
    Page,
    Shape,
    page_of,
    parse_time_cursor,
    time_cursor,
)
from gateway.api.threads import AgentName
from gateway.intake import run_input
from gateway.stopping import request_cancel
from gateway.store import runs
from gateway.store.runs import RunRow
from shared.db.conversations import LIVE, RunStatus
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.frames import IfBusy, PublicId
from shared.protocol.ids import trace_id

router = api_router("runs")

_INPUT = {"messages": [{"id": "msg_1", "role": "user", "content": "Hello"}]}


class NewRun(Body):
    """A run to be; as op `run` on the socket."""

    agent: AgentName | None = Field(
        None,
        description="The thread's, unless given. A new thread needs it.",
        examples=["Assistant"],
    )
    input: dict[str, Any] = Field(
        description="AG-UI's RunAgentInput. `threadId` and `runId` may be left out; the run's id "
        "is the idempotency key.",
        examples=[_INPUT],
    )
    if_busy: IfBusy = Field("enqueue", description="What to do while the thread has a run.")


class AcceptedRun(Shape):
    """A run that will end, whatever happens."""

    run_id: str = Field(examples=["run_01993b7c5d5e7c0f8a51c6f7b1f2a3d4"])
    thread_id: str
    status: RunStatus
    queued: bool = Field(description="It waits for another run of its thread.")
    waits_for: list[str] = Field(
        [], description="Ids of what a person has to decide before the thread goes on."
    )


class StoppedRun(Shape):
    """A run that was asked to stop, and where it stood."""

    run_id: str
    thread_id: str
    status: RunStatus


class RunError(Shape):
    """Why a run failed."""

    code: str
    message: str | None


class RunLinks(Shape):
    """Where to read on."""

    thread: str
    events: str
    trace: str


class Run(Shape):
    """One execution, from an input to an outcome."""

    id: str
    thread_id: str
    parent_run_id: str | None = Field(description="The run that this one resumes.")
    resumed_by: str | None = Field(description="The run that goes on with this one.")
    deaths: int = Field(description="Processes that ended with it since its last finished step.")
    agent: str
    status: RunStatus
    queued: bool = Field(description="It waits for another run of its thread.")
    error: RunError | None
    usage: Any = Field(description="AG-UI's token usage, one entry per model.")
    trace_id: str
    created_at: datetime
    claimed_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    cancel_requested_at: datetime | None
    links: RunLinks


def shape(row: RunRow) -> Run:
    """A run as people see it."""
    here = f"/api/runs/{row.public_id}"
    return Run(
        id=row.public_id,
        thread_id=row.thread,
        parent_run_id=row.resumes,
        resumed_by=row.resumed_by,
        deaths=row.deaths,
        agent=row.agent,
        status=RunStatus(row.status),
        queued=row.status in LIVE and not row.ready,
        error=RunError(code=row.error_code, message=row.error_message) if row.error_code else None,
        usage=row.usage,
        trace_id=trace_id(row.root),
        created_at=row.created_at,
        claimed_at=row.claimed_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        cancel_requested_at=row.cancel_requested_at,
        links=RunLinks(
            thread=f"/api/threads/{row.thread}", events=f"{here}/events", trace=f"{here}/trace"
        ),
    )


@router.post("/threads/{id}/runs", status_code=202, operation_id="startRun")
async def start_run(
    thread_id: PathId,
    body: NewRun,
    caller: SignedIn,
    services: WithServices,
) -> AcceptedRun:
    """Start a run, durably: once this answers, the run will end. A new thread id makes a thread."""
    accepted = await accept_run(
        services,
        caller,
        thread_id=thread_id,
        agent=body.agent,
        input=run_input(thread_id, body.input),
        if_busy=body.if_busy,
    )
    return AcceptedRun(
        run_id=accepted.run_id,
        thread_id=accepted.thread_id,
        status=RunStatus(accepted.status),
        queued=accepted.queued,
        waits_for=accepted.waits_for,
    )


@router.get("/runs", operation_id="listRuns")
async def list_runs(
    caller: SignedIn,
    services: WithServices,
    limit: Limit = 50,
    cursor: Annotated[Cursor, Query()] = None,
    status: Annotated[
        RunStatus | Literal["live"] | None, Query(description="`live`: queued or running.")
    ] = None,
    thread_id: Annotated[PublicId | None, Query(alias="threadId")] = None,
) -> Page[Run]:
    """List my runs, the newest first."""
    before = parse_time_cursor(cursor)
    statuses = LIVE if status == "live" else [status] if status else None
    async with services.db.reading(caller.user_id) as db:
        rows = await runs.page(
            db,
            caller.user_id,
            limit=limit + 1,
            before=before[1] if before else None,
            statuses=statuses,
            thread=thread_id,
        )
    return page_of(
        rows, limit, shape=shape, cursor=lambda row: time_cursor(row.created_at, row.key)
    )


@router.get("/runs/{id}", operation_id="getRun")
async def get_run(run_id: PathId, caller: SignedIn, services: WithServices) -> Run:
    """Read a run."""
    async with services.db.reading(caller.user_id) as db:
        row = await runs.find(db, caller.user_id, run_id)
    if row is None:
        raise BatonError(Code.NOT_FOUND)
    return shape(row)


@router.post("/runs/{id}/cancel", status_code=202, operation_id="cancelRun")
async def cancel_run(run_id: PathId, caller: SignedIn, services: WithServices) -> StoppedRun:
    """Ask a run to stop. The truth comes as its last event; one that has ended stays as it is."""
    found = await request_cancel(services, caller, thread_id=None, run_id=run_id)
    return StoppedRun(
        run_id=found.run_id, thread_id=found.thread_id, status=RunStatus(found.status)
    )
