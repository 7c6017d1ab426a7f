"""Poisoned runs: those that killed every process that carried them, for operators."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.conversations import SUSPECT
from shared.db.direct import Transaction
from shared.db.line import Statement


class PoisonedRow(NamedTuple):
    """A poisoned run; `words` is what toolsvc kept of its last process."""

    key: UUID
    public_id: str
    email: str
    thread: str
    agent: str
    message: str | None
    ended_at: datetime
    words: Any
    requeued_by: str | None


_PAGE = text("""
    SELECT runs.id, runs.public_id, users.email, threads.public_id, runs.agent,
        runs.error_message, runs.ended_at, runs.last_words, resume.public_id
    FROM runs JOIN users ON users.id = runs.user_id JOIN threads ON threads.id = runs.thread_id
    LEFT JOIN runs AS resume ON resume.user_id = runs.user_id AND resume.resumes = runs.public_id
    WHERE runs.error_code = 'poisoned' AND (CAST(:before AS uuid) IS NULL OR runs.id < :before)
    ORDER BY runs.id DESC LIMIT :limit
""")

_CALLED = Statement(
    """
    SELECT runs.id FROM runs JOIN users ON users.id = runs.user_id
    WHERE runs.public_id = :run AND users.email = COALESCE(CAST(:email AS text), users.email)
        AND (runs.user_id = :caller OR CAST(:anybodys AS boolean))
    ORDER BY runs.user_id = :caller DESC, runs.error_code = 'poisoned' DESC NULLS LAST, runs.id DESC
    LIMIT 1
    """,
    lambda columns: UUID(str(columns[0])),
)
_ALONE = Statement("UPDATE runs SET deaths = :deaths WHERE id = :run")


async def page(db: AsyncConnection, *, limit: int, before: UUID | None = None) -> list[PoisonedRow]:
    """Everybody's poisoned runs, the newest first."""
    found = await db.execute(_PAGE, {"limit": limit, "before": before})
    return [PoisonedRow(*row) for row in found]


async def called(
    db: Transaction, run: str, *, caller: UUID, email: str | None, anybodys: bool
) -> UUID | None:
    """A run of this name: the caller's own, else a poisoned one first, if anybody's count."""
    return await db.one(_CALLED(run=run, caller=caller, email=email, anybodys=anybodys))


def begin_alone(db: Transaction, run: UUID) -> None:
    """Let a run that waits be carried by a process of its own from the start."""
    db.add(_ALONE(run=run, deaths=SUSPECT))
