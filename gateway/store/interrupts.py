"""What runs have asked people: reading it, and recording what those decide."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.questions import Asking
from shared.db.direct import Transaction
from shared.db.line import Command, Statement


class InterruptRow(NamedTuple):
    """A question as people see it."""

    id: str
    run: UUID
    reason: str
    call_id: str
    agent: str
    tool: str
    arguments: str
    status: str
    message: str | None
    decided_by: str | None
    decided_at: datetime | None
    created_at: datetime


class Waiting(NamedTuple):
    """A question by its id alone, and whose it is."""

    id: str
    run: UUID
    thread: str
    agent: str
    reason: str
    tool: str
    arguments: str


_ASKED = """
    SELECT interrupts.id, runs.id, threads.public_id, runs.agent, interrupts.reason,
        interrupts.tool, interrupts.arguments
    FROM interrupts JOIN runs ON runs.id = interrupts.run_id
    JOIN threads ON threads.id = interrupts.thread_id
    WHERE interrupts.id = ANY(:ids)
        AND runs.user_id = :user AND threads.deleted_at IS NULL AND runs.deleted_at IS NULL
"""
_EVER_ASKED = text(_ASKED)
# Those that were called off wait for nobody.
_WAITING = text(f"{_ASKED} AND interrupts.status <> 'superseded'")
_COLUMNS = """
    interrupts.id, interrupts.run_id, interrupts.reason, interrupts.call_id, interrupts.agent,
    interrupts.tool, interrupts.arguments, interrupts.status, interrupts.message,
    interrupts.decided_by, interrupts.decided_at, interrupts.created_at
"""
_OF_RUN = f"""
    SELECT {_COLUMNS} FROM runs
    JOIN interrupts ON interrupts.root_id = runs.root_id AND interrupts.run_id = runs.id
    WHERE runs.id = :run ORDER BY interrupts.ordinal
"""  # noqa: S608
_READ = text(_OF_RUN)
_UNDER_LOCK = Statement(_OF_RUN, InterruptRow._make)
# Decided or not, so that what was told once is known again; a call's id may come back, the last
# one counts.
_OF_CALLS = text(
    """
    SELECT interrupts.call_id, interrupts.id FROM threads
    JOIN runs ON runs.thread_id = threads.id
    JOIN interrupts ON interrupts.root_id = runs.root_id AND interrupts.run_id = runs.id
    WHERE threads.user_id = :user AND threads.public_id = :thread AND threads.deleted_at IS NULL
        AND interrupts.call_id = ANY(:calls) AND interrupts.reason = 'client_tool'
        AND interrupts.status <> 'superseded'
    ORDER BY runs.id
    """
)
_OPEN_OF_THREAD = """
    SELECT interrupts.id, runs.public_id, interrupts.reason, interrupts.agent, interrupts.tool,
        interrupts.arguments
    FROM interrupts JOIN runs ON runs.id = interrupts.run_id
    WHERE interrupts.thread_id = :thread AND interrupts.status = 'open'
    ORDER BY interrupts.run_id, interrupts.ordinal
"""
_READ_OPEN = text(_OPEN_OF_THREAD)
_ASKING = text(
    "SELECT DISTINCT thread_id FROM interrupts WHERE thread_id = ANY(:threads) AND status = 'open'"
)
_OPEN_UNDER_LOCK = Statement(_OPEN_OF_THREAD, Asking._make)
# Other people's, and those of deleted threads, are as unknown as any other.
_RUNS = Statement(
    """
    SELECT runs.id, count(*) FROM interrupts JOIN runs ON runs.id = interrupts.run_id
    JOIN threads ON threads.id = interrupts.thread_id
    WHERE interrupts.id = ANY(:ids) AND runs.user_id = :user AND threads.deleted_at IS NULL
        AND threads.public_id = COALESCE(CAST(:thread AS text), threads.public_id)
        AND runs.public_id = COALESCE(CAST(:run AS text), runs.public_id)
    GROUP BY runs.id
    """,
    lambda columns: (UUID(str(columns[0])), int(columns[1])),
)
_DECIDE = Statement(
    """
    UPDATE interrupts SET status = :status, message = :message, decided_by = :by,
        decided_at = now()
    WHERE id = :id AND status = 'open'
    """
)
_SUPERSEDE = Statement(
    """
    UPDATE interrupts SET status = 'superseded', decided_by = :by, decided_at = now()
    WHERE thread_id = :thread AND status = 'open' AND run_id = COALESCE(CAST(:run AS uuid), run_id)
    """
)
# What waited behind the run that waited for a person; the order is that of a run's end.
_GO_ON = Statement(
    """
    UPDATE runs SET ready = true WHERE id = (
        SELECT id FROM runs WHERE thread_id = :thread AND status = 'queued'
        ORDER BY resumes IS NULL, turn, id LIMIT 1
    ) AND NOT EXISTS (
        SELECT FROM runs WHERE thread_id = :thread
            AND (status = 'running' OR status = 'queued' AND ready)
    )
    """
)


async def of_run(db: AsyncConnection, run: UUID) -> Sequence[InterruptRow]:
    """What a run has asked, in order."""
    return [InterruptRow(*row) for row in await db.execute(_READ, {"run": run})]


async def waiting(db: AsyncConnection, user: UUID, ids: Sequence[str]) -> list[Waiting]:
    """A person's questions of these ids, decided or not; what is called off is left out."""
    found = await db.execute(_WAITING, {"user": user, "ids": list(ids)})
    return [Waiting(*row) for row in found]


async def of_calls(
    db: AsyncConnection, user: UUID, thread: str, calls: Sequence[str]
) -> dict[str, str]:
    """Which calls of the client's tools a person's thread has asked about, by the calls' places."""
    found = await db.execute(_OF_CALLS, {"user": user, "thread": thread, "calls": list(calls)})
    return {row.call_id: row.id for row in found}


async def open_of(db: AsyncConnection, thread: UUID) -> list[Asking]:
    """What a thread waits for."""
    return [Asking(*row) for row in await db.execute(_READ_OPEN, {"thread": thread})]


async def asking(db: AsyncConnection, threads: Sequence[UUID]) -> set[UUID]:
    """Which of these threads wait for somebody."""
    return set(await db.scalars(_ASKING, {"threads": list(threads)}))


async def open_under_lock(db: Transaction, thread: UUID) -> Sequence[Asking]:
    """The same, in a transaction; the caller holds the thread's lock."""
    return await db.all(_OPEN_UNDER_LOCK(thread=thread))


async def asked(db: AsyncConnection, user: UUID, ids: Sequence[str]) -> list[Waiting]:
    """A person's questions of these ids, those that were called off too."""
    found = await db.execute(_EVER_ASKED, {"user": user, "ids": list(ids)})
    return [Waiting(*row) for row in found]


async def asked_by(db: Transaction, run: UUID) -> Sequence[InterruptRow]:
    """What a run has asked, in a transaction; the caller holds the thread's lock."""
    return await db.all(_UNDER_LOCK(run=run))


async def runs_of(
    db: Transaction, user: UUID, ids: Sequence[str], *, thread: str | None, run: str | None
) -> Sequence[tuple[UUID, int]]:
    """Which of a person's runs have asked these, in this thread or run, and how many of them."""
    return await db.all(_RUNS(user=user, ids=list(ids), thread=thread, run=run))


def decide(db: Transaction, id_: str, status: str, message: str | None, *, by: str) -> None:
    """Record a decision; the caller holds the thread's lock and has seen that it is open."""
    db.add(_DECIDE(id=id_, status=status, message=message, by=by))


def supersede(
    db: Transaction, thread: UUID, *, by: str, run: UUID | None = None
) -> Command[tuple[object, ...]]:
    """Close what a thread (or one run of it) waits for, and let what waited behind it go on."""
    db.add(_SUPERSEDE(thread=thread, by=by, run=run))
    return db.add(_GO_ON(thread=thread))
