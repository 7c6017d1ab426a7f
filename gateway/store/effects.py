"""The ledger of effects, as people see and settle it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.direct import Transaction
from shared.db.line import Statement
from shared.db.records import EffectStatus


class EffectRow(NamedTuple):
    """A tool call in the ledger; `arguments` and `result` are JSON text."""

    key: str
    status: str
    tool: str
    scope: str
    call_id: str
    arguments: str | None
    run: str | None
    thread: str
    email: str
    executor: str
    executor_until: datetime
    created_at: datetime
    done_at: datetime | None
    result: str | None
    error_code: str | None
    error_message: str | None
    settled_as: str | None
    settled_by: str | None
    settled_at: datetime | None
    resumed_by: str | None


class Settlement(NamedTuple):
    """What a person says became of a call; `result` is JSON text."""

    status: EffectStatus
    result: str | None = None
    error_code: str | None = None
    error_message: str | None = None


# Nobody is sure of a call whose executor let its lease end; the row says so only once somebody has
# asked for the call again.
_UNSURE = "(effects.status = 'unknown' OR effects.status = 'claimed' AND executor_until < now())"
_READING = f"""
    SELECT effects.key, CASE WHEN {_UNSURE} THEN 'unknown' ELSE effects.status END AS status,
        effects.tool, effects.scope, effects.call_id, effects.arguments,
        claimed.public_id AS run, threads.public_id AS thread, users.email,
        effects.executor, effects.executor_until, effects.created_at, effects.done_at,
        effects.result, effects.error_code, effects.error_message,
        effects.settled_as, effects.settled_by, effects.settled_at,
        resume.public_id AS resumed_by
    FROM effects JOIN runs AS root ON root.id = effects.root_id
    JOIN threads ON threads.id = root.thread_id JOIN users ON users.id = root.user_id
    LEFT JOIN runs AS claimed ON claimed.id = effects.run_id
    LEFT JOIN runs AS resume
        ON resume.user_id = claimed.user_id AND resume.resumes = claimed.public_id
"""  # noqa: S608
_ONE = Statement(f"{_READING} WHERE effects.key = :key", EffectRow._make)
_UNSETTLED = f"effects.status IN ('claimed', 'unknown') AND {_UNSURE}"  # first what the index has
_OLDER = """
    (effects.root_id, effects.scope, effects.call_id, effects.arguments_digest) <
        (SELECT root_id, scope, call_id, arguments_digest FROM effects WHERE key = :before)
"""
# By the index: a key has digits and the letters a to f.
_BEGINS = "effects.key BETWEEN :begins AND CAST(:begins AS text) || 'g'"
_NEWEST_FIRST = """
    ORDER BY effects.root_id DESC, effects.scope DESC, effects.call_id DESC,
        effects.arguments_digest DESC LIMIT :limit
"""

# A person never overrules an executor that lives. One that wakes up later finds that the row is
# not its own any more, whatever it has done.
_SETTLE = Statement(
    f"""
    UPDATE effects SET status = :status, result = :result, error_code = :error_code,
        error_message = :error_message, done_at = CASE WHEN :status <> 'retry' THEN now() END,
        settled_as = :status, settled_by = :by, settled_at = now()
    WHERE key = :key AND {_UNSURE} RETURNING key
    """  # noqa: S608
)
_LOCK = Statement(
    """
    SELECT deleted_at IS NOT NULL FROM threads WHERE id = (
        SELECT runs.thread_id FROM effects JOIN runs ON runs.id = effects.root_id
        WHERE effects.key = :key
    ) FOR UPDATE
    """,
    lambda columns: bool(columns[0]),
)
# The newest run of the root: the one that nobody resumes.
_STUCK = Statement(
    f"""
    SELECT runs.id FROM effects AS settled
    JOIN runs AS root ON root.id = settled.root_id
    JOIN runs ON runs.thread_id = root.thread_id AND runs.root_id = root.id
    WHERE settled.key = :key AND runs.status = 'failed'
        AND runs.error_code = 'tool_outcome_unknown'
        AND NOT EXISTS (SELECT FROM effects WHERE effects.root_id = root.id AND {_UNSURE})
        AND NOT EXISTS (
            SELECT FROM runs AS later
            WHERE later.user_id = runs.user_id AND later.resumes = runs.public_id
        )
    """,  # noqa: S608
    lambda columns: columns[0],
)


async def page(
    db: AsyncConnection,
    *,
    limit: int,
    before: str | None,
    unsettled: bool,
    begins: str | None = None,
) -> Sequence[EffectRow]:
    """Effects of everybody, those of the newest runs first; `before` is the key of the last seen.

    `unsettled`: only those whose outcome nobody knows; `begins`: whose keys begin so.
    """
    conditions = [_UNSETTLED] if unsettled else ["true"]
    conditions += [_OLDER] if before else []
    conditions += [_BEGINS] if begins else []
    query = text(f"{_READING} WHERE {' AND '.join(conditions)} {_NEWEST_FIRST}")
    values = {"limit": limit, "before": before, "begins": begins}
    rows = await db.execute(query, {name: value for name, value in values.items() if value})
    return [EffectRow(*row) for row in rows]


async def lock(db: Transaction, key: str) -> bool:
    """Lock the thread of an effect, as whoever claims its run or the effect does.

    Returns:
        Whether there is such a thread, and nobody has deleted it.
    """
    return await db.one(_LOCK(key=key)) is False


async def find(db: Transaction, key: str) -> EffectRow | None:
    """One effect."""
    return await db.one(_ONE(key=key))


async def settle(db: Transaction, key: str, said: Settlement, by: str) -> bool:
    """Settle an effect whose outcome nobody knows; false where it is none of those."""
    return await db.one(_SETTLE(key=key, by=by, **said._asdict())) is not None


async def stuck_run(db: Transaction, key: str) -> UUID | None:
    """The run that could go on, for no outcome of its tools' calls is unknown any more."""
    return await db.one(_STUCK(key=key))
