"""The ledger of effects, as people see and settle it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

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
        effects.settled_as, effects.settled_by, effects.settled_at
    FROM effects JOIN runs AS root ON root.id = effects.root_id
    JOIN threads ON threads.id = root.thread_id JOIN users ON users.id = root.user_id
    LEFT JOIN runs AS claimed ON claimed.id = effects.run_id
"""  # noqa: S608
_ONE = text(f"{_READING} WHERE effects.key = :key")
_UNSETTLED = f"effects.status IN ('claimed', 'unknown') AND {_UNSURE}"  # first what the index has
_OLDER = """
    (effects.root_id, effects.scope, effects.call_id, effects.arguments_digest) <
        (SELECT root_id, scope, call_id, arguments_digest FROM effects WHERE key = :before)
"""
_NEWEST_FIRST = """
    ORDER BY effects.root_id DESC, effects.scope DESC, effects.call_id DESC,
        effects.arguments_digest DESC LIMIT :limit
"""

# A person never overrules an executor that lives. One that wakes up later finds that the row is
# not its own any more, whatever it has done.
_SETTLE = text(f"""
    UPDATE effects SET status = :status, result = :result, error_code = :error_code,
        error_message = :error_message, done_at = CASE WHEN :status <> 'retry' THEN now() END,
        settled_as = :status, settled_by = :by, settled_at = now()
    WHERE key = :key AND {_UNSURE}
""")  # noqa: S608


async def page(
    db: AsyncConnection, *, limit: int, before: str | None, unsettled: bool
) -> Sequence[EffectRow]:
    """Effects of everybody, those of the newest runs first; `before` is the key of the last seen.

    `unsettled`: only those whose outcome nobody knows.
    """
    conditions = [_UNSETTLED] if unsettled else ["true"]
    conditions += [_OLDER] if before else []
    query = text(f"{_READING} WHERE {' AND '.join(conditions)} {_NEWEST_FIRST}")
    rows = await db.execute(query, {"limit": limit} | ({"before": before} if before else {}))
    return [EffectRow(*row) for row in rows]


async def find(db: AsyncConnection, key: str) -> EffectRow | None:
    """One effect."""
    row = (await db.execute(_ONE, {"key": key})).one_or_none()
    return EffectRow(*row) if row else None


async def settle(db: AsyncConnection, key: str, said: Settlement, by: str) -> bool:
    """Settle an effect whose outcome nobody knows; false where it is none of those."""
    settled = await db.execute(_SETTLE, {"key": key, "by": by, **said._asdict()})
    return settled.rowcount == 1
