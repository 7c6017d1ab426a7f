"""Approvals: what a run asks before it goes on, and deciding it."""

from datetime import datetime
from typing import Annotated, Any, Self

import orjson
from pydantic import Field, StringConstraints

from gateway.api.routing import PathId, SignedIn, WithServices, api_router
from gateway.api.shapes import Body, Shape
from gateway.auth.caller import Caller
from gateway.decide import decide_run
from gateway.intake import MOST_CHARS, Verdict
from gateway.services import Services
from gateway.store import interrupts, runs
from gateway.store.interrupts import InterruptRow
from shared.db.interrupts import InterruptStatus
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.frames import PublicId

router = api_router("runs")


class Approval(Shape):
    """A question that a run ended with."""

    id: str = Field(description="What a decision names, and `interruptId` of AG-UI's `resume`.")
    status: InterruptStatus = Field(
        description="`superseded`: the thread went on without an answer."
    )
    reason: str
    tool: str
    call_id: str
    agent: str
    arguments: Any = Field(description="As the model wrote them; JSON where they are.")
    message: str | None = Field(description="What was said with the decision.")
    decided_by: str | None = Field(description="E-mail of who decided.")
    decided_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, row: InterruptRow) -> Self:
        """As its owner sees it."""
        return cls(
            id=row.id,
            status=InterruptStatus(row.status),
            reason=row.reason,
            tool=row.tool,
            call_id=row.call_id,
            agent=row.agent,
            arguments=_readable(row.arguments),
            message=row.message,
            decided_by=row.decided_by,
            decided_at=row.decided_at,
            created_at=row.created_at,
        )


def _readable(arguments: str) -> Any:
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments


class RunApprovals(Shape):
    """All that a run asks, and the run that goes on once it is decided."""

    run_id: str
    thread_id: str
    resumed_by: str | None = Field(
        description="The run that goes on; null while something is open."
    )
    data: list[Approval]


class Decision(Body):
    """What is said about one question."""

    id: PublicId
    approved: bool
    message: Annotated[str, StringConstraints(min_length=1, max_length=MOST_CHARS)] | None = Field(
        None, description="What the model is told of a refusal.", examples=["Not on a Sunday."]
    )


class Decisions(Body):
    """What is said about some of a run's questions, or all of them."""

    decisions: list[Decision] = Field(
        min_length=1,
        max_length=100,
        examples=[[{"id": "int_01993b7c5d5e7c0f8a51c6f7b1f2a3d4", "approved": True}]],
    )


@router.get("/runs/{id}/approvals", operation_id="listApprovals")
async def list_approvals(run_id: PathId, caller: SignedIn, services: WithServices) -> RunApprovals:
    """Read what a run asks; nothing, for most."""
    return await _read(services, caller, run_id)


@router.post("/runs/{id}/approvals", operation_id="decideApprovals")
async def decide_approvals(
    run_id: PathId, body: Decisions, caller: SignedIn, services: WithServices
) -> RunApprovals:
    """Decide what a run asks. With the last decision it goes on, as a run of its own.

    A decision counts once, for the arguments shown. The same again is answered alike; another one
    is a conflict, and nothing of the request is recorded then.
    """
    said = [Verdict(one.id, one.approved, one.message) for one in body.decisions]
    if len({one.interrupt for one in said}) != len(said):
        raise BatonError(Code.BAD_INPUT, "decisions: two are about the same question.")
    await decide_run(services, caller, run_id, said)
    return await _read(services, caller, run_id)


async def _read(services: Services, caller: Caller, run_id: str) -> RunApprovals:
    async with services.db.reading(caller.user_id) as db:
        run = await runs.find(db, caller.user_id, run_id)
        if run is None:
            raise BatonError(Code.NOT_FOUND)
        asked = await interrupts.of_run(db, run.key)
    return RunApprovals(
        run_id=run.public_id,
        thread_id=run.thread,
        resumed_by=run.resumed_by,
        data=[Approval.of(one) for one in asked],
    )
