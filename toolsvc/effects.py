"""The ledger of effects: each tool call of toolsvc takes effect at most once.

A call's key is `(root run, scope, call id, digest of its arguments)`. Its row is written before the
effect, with the lease of who executes it, and tells everybody who asks again what happened:

    claimed ──▶ done | failed          the executor said so
       └──────▶ unknown                its lease ended without a word; an idempotent tool is run
                                       again, any other call waits for a person:
    unknown ──▶ done | failed | retry  the gateway writes what the person says; `retry` is claimed
                                       by whoever asks next

The claim also checks the run's fence, in the same statement and under the thread's lock: a runner
that was overtaken has no effect.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import FencedError
from shared.protocol.codes import MEANINGS, Code
from shared.tokens import RunClaims
from toolsvc.files import NewFile, keep

#: Kept of a tool's own words about its error.
_MAX_MESSAGE_CHARS = 2000


@dataclass(frozen=True, kw_only=True)
class EffectKey:
    """What makes two requests the same call."""

    root: UUID
    #: The path of enclosing calls and runs, as replay knows it; empty at the root.
    scope: str
    call: str
    digest: bytes

    @cached_property
    def as_text(self) -> str:
        """The whole key in 64 characters, for other services' `Idempotency-Key`."""
        parts = (self.root.bytes, self.scope.encode(), self.call.encode(), self.digest)
        return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()

    @property
    def lock(self) -> int:
        """A number for Postgres' advisory locks; should two keys share it, one waits in vain."""
        return int.from_bytes(bytes.fromhex(self.as_text[:16]), signed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a tool ended: with a result, or with an error's code, sentence and HTTP status."""

    result: str | None = None  #: JSON
    code: str | None = None
    message: str = ""
    status: int = 200
    #: What the tool made, and the whole of a result of which `result` is the beginning.
    files: tuple[NewFile, ...] = ()

    @classmethod
    def failed(
        cls, code: str, message: str | None = None, *, status: int | None = None
    ) -> "Outcome":
        """An error; one of our own codes brings its sentence and status along."""
        if message is None or status is None:
            meaning = MEANINGS[Code(code)]
            message, status = message or meaning.text, status or meaning.status
        storable = message.replace("\x00", "").encode(errors="replace").decode()
        return cls(code=code, message=storable[:_MAX_MESSAGE_CHARS], status=status)


class Standing(StrEnum):
    """What a claim found."""

    MINE = "mine"  #: nobody has run it; this caller must
    BUSY = "busy"  #: somebody is running it now
    SETTLED = "settled"  #: it was run; the outcome is known
    UNKNOWN = "unknown"  #: somebody began, and nobody knows what came of it


@dataclass(frozen=True, slots=True)
class Found:
    """What a claim found, with the outcome where there is one."""

    standing: Standing
    outcome: Outcome | None = None


# The lock on the thread keeps its fence as it is until this transaction ends. The run's own status
# may be a moment old, but only the run's own runner could have changed it without a new fence.
# `locked` lets equal calls find out that they are not alone without waiting for each other on a
# connection. A transaction that falls asleep must not keep the thread: Postgres ends it. An
# executor may claim what it has claimed already, for the answer may have been lost; it has not
# begun then.
_CLAIM = text("""
    WITH permit AS MATERIALIZED (
        SELECT runs.id, pg_try_advisory_xact_lock(:lock) AS locked
        FROM threads JOIN runs ON runs.thread_id = threads.id
        WHERE threads.id = :thread AND threads.fence = :fence AND runs.id = :run
            AND runs.fence = :fence AND runs.status = 'running' AND runs.root_id = :root
            AND runs.user_id = :user
        FOR SHARE OF threads
    ), written AS (
        INSERT INTO effects AS old (root_id, scope, call_id, arguments_digest, run_id, tool,
            arguments, status, executor, executor_until)
        SELECT :root, :scope, :call, :digest, :run, :tool, :arguments, 'claimed', :executor,
            now() + make_interval(secs => :lease_s)
        FROM permit WHERE locked
        ON CONFLICT (root_id, scope, call_id, arguments_digest) DO UPDATE SET
            (status, run_id, executor, executor_until) = (
                SELECT CASE WHEN again THEN 'claimed' ELSE 'unknown' END,
                    CASE WHEN again THEN excluded.run_id ELSE old.run_id END,
                    CASE WHEN again THEN excluded.executor ELSE old.executor END,
                    CASE WHEN again THEN excluded.executor_until ELSE old.executor_until END
                FROM (SELECT
                    :idempotent OR old.status = 'retry' OR old.executor = excluded.executor AS again
                ) AS whether
            )
        WHERE old.status = 'retry' OR old.status IN ('claimed', 'unknown')
            AND (old.executor_until < now() OR old.executor = excluded.executor)
        RETURNING status
    )
    SELECT EXISTS (SELECT FROM permit) AS permitted,
        (SELECT status FROM written) AS written,
        effects.status, effects.result, effects.error_code, effects.error_message,
        set_config('idle_in_transaction_session_timeout', :asleep_ms, true)
    FROM (SELECT) AS one LEFT JOIN effects ON effects.root_id = :root AND effects.scope = :scope
        AND effects.call_id = :call AND effects.arguments_digest = :digest
""")

_SETTLE = text("""
    UPDATE effects SET status = :status, result = :result, error_code = :code,
        error_message = :message, arguments = NULL, done_at = clock_timestamp()
    WHERE root_id = :root AND scope = :scope AND call_id = :call AND arguments_digest = :digest
        AND executor = :executor AND status IN ('claimed', 'unknown')
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """Who wants to run which tool, and for how long at most."""

    claims: RunClaims
    key: EffectKey
    tool: str
    idempotent: bool
    #: JSON, for whoever may have to settle the call.
    arguments: str
    #: Unlike any other's, also of the same process: what is settled must be one's own.
    executor: str
    lease_s: float
    #: How long the transaction of the claim may do nothing.
    asleep_s: float


async def claim(connection: AsyncConnection, who: Claimant) -> Found:
    """Write the row that says "I am running this", or find out why not; one round trip.

    Raises:
        FencedError: the run's claim is not the thread's newest any more, or the run is over.
    """
    claims = who.claims
    rows = await connection.execute(
        _CLAIM,
        {
            **_key(who.key),
            "lock": who.key.lock,
            "thread": claims.thread,
            "run": claims.run,
            "user": claims.user,
            "fence": claims.fence,
            "tool": who.tool,
            "arguments": who.arguments,
            "idempotent": who.idempotent,
            "executor": who.executor,
            "lease_s": who.lease_s,
            "asleep_ms": str(round(who.asleep_s * 1000)),
        },
    )
    row = rows.one()
    if not row.permitted:
        raise FencedError(claims.fence)
    return _found(row)


async def settle(connection: AsyncConnection, who: Claimant, outcome: Outcome) -> bool:
    """Write down how it ended; false where the row is not this claimant's any more.

    Where the outcome has files, the caller has a transaction, and undoes it where this is false.
    """
    for file in outcome.files:  # first: they wait for the thread's row, which others lock before
        await keep(connection, who.claims, file)
    failed = outcome.code is not None
    facts = orjson.dumps({"status": outcome.status}).decode()
    settled = await connection.execute(
        _SETTLE,
        {
            **_key(who.key),
            "executor": who.executor,
            "status": "failed" if failed else "done",
            "result": facts if failed else outcome.result,
            "code": outcome.code,
            "message": outcome.message if failed else None,
        },
    )
    return settled.rowcount == 1


def _key(key: EffectKey) -> dict[str, Any]:
    return {"root": key.root, "scope": key.scope, "call": key.call, "digest": key.digest}


def _found(row: Row[Any]) -> Found:
    match row.written, row.status:
        case "claimed", _:
            return Found(Standing.MINE)
        case "unknown", _:
            return Found(Standing.UNKNOWN)
        case _, "done":
            return Found(Standing.SETTLED, Outcome(result=row.result))
        case _, "failed":
            # An operator who settles by hand may leave the status out.
            status = orjson.loads(row.result)["status"] if row.result else 500
            failed = Outcome.failed(row.error_code, row.error_message or "", status=status)
            return Found(Standing.SETTLED, failed)
        case _:  # claimed by somebody, or written since this statement began
            return Found(Standing.BUSY)
