"""Effects of tools: what was done, and settling what nobody knows the outcome of; for admins."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self

import orjson
from fastapi import Path, Query
from pydantic import Field, RootModel, StringConstraints

from gateway.api.routing import Admin, WithServices, api_router
from gateway.api.shapes import Body, Cursor, Limit, Page, Shape, page_of
from gateway.settle import settle_effect
from gateway.store import effects
from gateway.store.effects import EffectRow, Settlement
from shared.db.records import EffectStatus
from shared.errors import BatonError
from shared.protocol.codes import Code

router = api_router("operations")

#: As much as a tool's result may have before it is kept as a file.
MAX_RESULT_BYTES = 262_144
_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Settled(Shape):
    """What a person said of it."""

    outcome: Literal["done", "failed", "retry"]
    by: str = Field(description="E-mail of who said it.")
    at: datetime


class EffectError(Shape):
    """Why a call failed."""

    code: str
    message: str | None


class Effect(Shape):
    """One call of a tool of toolsvc, at most once carried out."""

    key: str = Field(description="What other services got as `Idempotency-Key`.")
    status: EffectStatus = Field(
        description="`unknown`: its executor died; nobody knows whether it took effect."
    )
    tool: str
    arguments: Any = Field(description="Null once the executor has told the outcome.")
    call_id: str
    scope: str = Field(description="The path of calls and runs around it; empty at the root.")
    run_id: str | None
    thread_id: str
    email: str = Field(description="Whose run it is.")
    executor: str
    executor_until: datetime
    created_at: datetime
    done_at: datetime | None
    error: EffectError | None
    settled: Settled | None
    resumed_by: str | None = Field(description="The run that goes on with the one it ended.")

    @classmethod
    def of(cls, row: EffectRow) -> Self:
        """An effect as operators see it; what a tool returned is not for them."""
        error, settled = None, None
        if row.error_code:
            error = EffectError(code=row.error_code, message=row.error_message)
        if row.settled_as:
            said = {"outcome": row.settled_as, "by": row.settled_by, "at": row.settled_at}
            settled = Settled.model_validate(said)
        return cls(
            key=row.key,
            status=EffectStatus(row.status),
            tool=row.tool,
            arguments=_readable(row.arguments),
            call_id=row.call_id,
            scope=row.scope,
            run_id=row.run,
            thread_id=row.thread,
            email=row.email,
            executor=row.executor,
            executor_until=row.executor_until,
            created_at=row.created_at,
            done_at=row.done_at,
            error=error,
            settled=settled,
            resumed_by=row.resumed_by,
        )


def _readable(arguments: str | None) -> Any:
    """The JSON, or the text as it stands where somebody has altered it by hand."""
    try:
        return None if arguments is None else orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments


class _Said(Body):
    resume: bool = Field(
        True, description="Whether its run goes on, once no outcome is unknown there."
    )


class Done(_Said):
    """It took effect, and this is what the tool would have returned."""

    outcome: Literal["done"]
    result: Any = Field(description="JSON, also null.", examples=[{"paid": True}])

    def said(self) -> Settlement:
        """As the ledger has it."""
        result = orjson.dumps(self.result)
        if len(result) > MAX_RESULT_BYTES:
            raise BatonError(Code.TOO_LARGE, f"result: {MAX_RESULT_BYTES:,} bytes are allowed.")
        return Settlement(EffectStatus.DONE, result=result.decode())


class Failed(_Said):
    """It failed; what follows is as the tool says: the run ends with it, or the model is told."""

    outcome: Literal["failed"]
    code: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = "tool_failed"
    message: Annotated[str, StringConstraints(min_length=1, max_length=2000)] = Field(
        examples=["The bank refused it."]
    )

    def said(self) -> Settlement:
        """As the ledger has it."""
        return Settlement(EffectStatus.FAILED, error_code=self.code, error_message=self.message)


class Retry(_Said):
    """It did not take effect, or may do so twice: run it once more."""

    outcome: Literal["retry"]

    def said(self) -> Settlement:
        """As the ledger has it."""
        return Settlement(EffectStatus.RETRY)


class Verdict(RootModel[Annotated[Done | Failed | Retry, Field(discriminator="outcome")]]):
    """What became of a call."""


@router.get("/effects", operation_id="listEffects")
async def list_effects(
    caller: Admin,
    services: WithServices,
    limit: Limit = 50,
    cursor: Annotated[Cursor, Query()] = None,
    status: Annotated[
        Literal["unknown"] | None, Query(description="`unknown`: those to be settled.")
    ] = None,
    key: Annotated[
        str | None,
        Query(pattern=r"^[0-9a-f]{1,64}$", description="Only those whose keys begin so."),
    ] = None,
) -> Page[Effect]:
    """List calls of tools with their outcomes, those of the newest runs first."""
    if cursor is not None and not _KEY.fullmatch(cursor):
        raise BatonError(Code.BAD_CURSOR)
    async with services.db.reading(caller.user_id) as db:
        rows = await effects.page(
            db, limit=limit + 1, before=cursor, unsettled=status is not None, begins=key
        )
    return page_of(rows, limit, shape=Effect.of, cursor=lambda row: row.key)


@router.post("/effects/{key}/settle", operation_id="settleEffect")
async def settle(
    key: Annotated[str, Path(description="The effect's key.")],
    verdict: Verdict,
    caller: Admin,
    services: WithServices,
) -> Effect:
    """Say what became of a call whose outcome nobody knows; the run that it ended goes on.

    The same verdict again is answered alike; another one is a conflict, and so is one about a call
    that ended by itself or is being run.
    """
    given = verdict.root
    said = given.said()
    if not _KEY.fullmatch(key):
        raise BatonError(Code.NOT_FOUND)
    return Effect.of(await settle_effect(services, caller, key, said, resume=given.resume))
