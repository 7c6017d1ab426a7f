"""Runs: what accepting and cancelling one changes, and reading them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import RUNS, THREADS
from shared.db.direct import Transaction
from shared.db.line import Command, Statement


class Known(NamedTuple):
    """A run that has the id which a new one asks for."""

    key: UUID
    digest: bytes
    agent: str
    status: str
    ready: bool


class Before(NamedTuple):
    """What matters of the time before a run is accepted."""

    known: Known | None
    #: Whether a run goes on or waits for its turn, and what the thread asks a person.
    live: bool
    asked: list[str]
    held: frozenset[str]
    #: The person's runs that go on or wait, in all threads, by agent.
    of_user: dict[str, int]

    @classmethod
    def of(cls, columns: Sequence[Any]) -> "Before":
        """A row of `before`."""
        *known, live, asked, held, of_user = columns
        before = Known(*known) if known[0] else None
        return cls(before, live, asked, frozenset(held), of_user or {})

    @property
    def busy(self) -> bool:
        """Whether a new run has to wait."""
        return self.live or bool(self.asked)


class NewRun(NamedTuple):
    """A run about to be accepted; `messages` and `input` are JSON text."""

    key: UUID
    public_id: str
    user: UUID
    thread: UUID
    agent: str
    ready: bool
    message: str
    messages: str
    input: str
    digest: bytes
    project: UUID | None
    #: What the thread is called if this is its first message.
    title: str


class Stopped(NamedTuple):
    """A run that was asked to stop."""

    key: UUID
    public_id: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as people see it."""

    key: UUID
    root: UUID
    resumes: str | None
    resumed_by: str | None
    deaths: int
    public_id: str
    thread_key: UUID
    thread: str
    settled: int
    first_fence: int | None
    agent: str
    status: str
    ready: bool
    error_code: str | None
    error_message: str | None
    usage: Any
    cancel_requested_at: datetime | None
    created_at: datetime
    claimed_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    #: When its caller deleted it as a response; as a run it stays.
    deleted_at: datetime | None


_BEFORE = Statement(
    """
    SELECT known.id, known.input_digest, known.agent, known.status, known.ready,
        EXISTS (
            SELECT FROM runs WHERE thread_id = threads.id AND status IN ('queued', 'running')
        ),
        ARRAY(
            SELECT id FROM interrupts WHERE thread_id = threads.id AND status = 'open' ORDER BY id
        ),
        ARRAY(SELECT id FROM messages WHERE thread_id = threads.id AND id = ANY(:ids)),
        (SELECT json_object_agg(live.agent, live.runs) FROM (
            SELECT agent, count(*) AS runs FROM runs
            WHERE user_id = :user AND status IN ('queued', 'running') GROUP BY agent
        ) AS live)
    FROM threads LEFT JOIN runs AS known ON known.user_id = :user AND known.public_id = :run
    WHERE threads.user_id = :user AND threads.public_id = :thread
    """,
    Before.of,
)


def before(
    db: Transaction, user: UUID, thread: str, run: str, ids: Sequence[str]
) -> Command[Before]:
    """A run of this id, whether the thread is busy, and which of the messages it holds.

    Added after the statement that locks the thread it may go with it: it begins, and so looks,
    when it has the lock. No row where there is no such thread.
    """
    return db.add(_BEFORE(user=user, thread=thread, run=run, ids=list(ids)))


# Round robin over people: a run's turn is its owner's last turn + 1, but never lower than the
# lowest that waits, so that who was away for a week has not saved up turns.
NEXT_TURN = """
    UPDATE users SET turn = GREATEST(users.turn + 1, COALESCE((
        SELECT runs.turn FROM runs
        WHERE runs.status = 'queued' AND runs.ready AND runs.priority = 0
        ORDER BY runs.turn, runs.id LIMIT 1), 0))
    WHERE id = :user RETURNING turn
"""

_ACCEPT = Statement(f"""
    WITH next AS ({NEXT_TURN}), said AS (
        INSERT INTO messages (thread_id, id, run_id, role, content)
        SELECT :thread, message ->> 'id', :key, message ->> 'role', message
        FROM json_array_elements(CAST(:messages AS json)) WITH ORDINALITY AS sent (message, place)
        ORDER BY place
    ), touched AS (
        UPDATE threads SET updated_at = now(),
            title = CASE WHEN title IS NULL AND head IS NULL THEN :title ELSE title END
        WHERE id = :thread
    )
    INSERT INTO runs (id, root_id, public_id, user_id, thread_id, agent, status, ready, priority,
        turn, message_id, input, input_digest, project_id, commits)
    SELECT :key, :key, :public_id, :user, :thread, :agent, 'queued', :ready, 0,
        next.turn, :message, CAST(:input AS json), :digest, CAST(:project AS uuid), 0
    FROM next
""")  # noqa: S608


def accept(db: Transaction, run: NewRun) -> None:
    """Store a run and its messages, give it a turn; the caller holds the thread's lock.

    Sent with the commit, which raises IntegrityError where a run with this id came in between, in
    another thread.
    """
    db.add(_ACCEPT(**run._asdict()))


_STOP = Statement(
    """
    UPDATE runs SET cancel_requested_at = COALESCE(cancel_requested_at, now())
    WHERE thread_id = :thread AND status IN ('queued', 'running')
        AND id = COALESCE(CAST(:run AS uuid), id)
    RETURNING id, public_id, status
    """,
    Stopped._make,
)
_STATUS = Statement("SELECT status FROM runs WHERE id = :run")


def ask_to_stop(db: Transaction, thread: UUID, run: UUID | None = None) -> Command[Stopped]:
    """Mark live runs of a thread (or one of them); the caller holds the thread's lock."""
    return db.add(_STOP(thread=thread, run=run))


async def status(db: Transaction, run: UUID) -> str:
    """Where a run stands now."""
    ((found,),) = await db.all(_STATUS(run=run))
    return str(found)


# A thread that nobody lists goes with the last of its responses.
_FORGET = Statement(
    """
    WITH gone AS (
        UPDATE runs SET deleted_at = COALESCE(deleted_at, now())
        WHERE thread_id = :thread AND id = ANY(CAST(:runs AS uuid[]))
    )
    UPDATE threads SET deleted_at = now()
    WHERE id = :thread AND hidden AND deleted_at IS NULL AND NOT EXISTS (
        SELECT FROM runs WHERE thread_id = :thread AND deleted_at IS NULL
            AND id <> ALL(CAST(:runs AS uuid[]))
    )
    """
)
_NEWEST = Statement(
    "SELECT id FROM runs WHERE thread_id = :thread ORDER BY id DESC LIMIT 1",
    lambda columns: UUID(str(columns[0])),
)


def forget_responses(db: Transaction, thread: UUID, keys: Sequence[UUID]) -> None:
    """Their caller has deleted these; the caller of this holds the thread's lock."""
    db.add(_FORGET(thread=thread, runs=[str(one) for one in keys]))


async def newest(db: Transaction, thread: UUID) -> UUID | None:
    """A thread's newest run."""
    return await db.one(_NEWEST(thread=thread))


_LATER = RUNS.alias("later")
_COLUMNS = (
    RUNS.c.id.label("key"),
    RUNS.c.root_id.label("root"),
    RUNS.c.resumes,
    _LATER.c.public_id.label("resumed_by"),
    RUNS.c.deaths,
    RUNS.c.public_id,
    RUNS.c.thread_id.label("thread_key"),
    THREADS.c.public_id.label("thread"),
    THREADS.c.settled,
    RUNS.c.first_fence,
    RUNS.c.agent,
    RUNS.c.status,
    RUNS.c.ready,
    RUNS.c.error_code,
    RUNS.c.error_message,
    RUNS.c.usage,
    RUNS.c.cancel_requested_at,
    RUNS.c.created_at,
    RUNS.c.claimed_at,
    RUNS.c.started_at,
    RUNS.c.ended_at,
    RUNS.c.deleted_at,
)
_READING = (
    select(*_COLUMNS)
    .join(THREADS, THREADS.c.id == RUNS.c.thread_id)
    .outerjoin(
        _LATER, (_LATER.c.user_id == RUNS.c.user_id) & (_LATER.c.resumes == RUNS.c.public_id)
    )
    .where(THREADS.c.deleted_at.is_(None))
)


async def find(db: AsyncConnection, user: UUID, public_id: str) -> RunRow | None:
    """A person's run, unless its thread was deleted."""
    query = _READING.where(RUNS.c.user_id == user, RUNS.c.public_id == public_id)
    row = (await db.execute(query)).one_or_none()
    return RunRow(**row._mapping) if row else None


async def chain(db: AsyncConnection, user: UUID, public_id: str) -> list[RunRow]:
    """A person's run and those that have gone on after it, in order; nothing for no run."""
    rows: list[RunRow] = []
    next_: str | None = public_id
    while next_ is not None and (row := await find(db, user, next_)) is not None:
        rows.append(row)
        next_ = row.resumed_by
    return rows


async def input_of(db: AsyncConnection, key: UUID) -> dict[str, Any]:
    """What a run was given, as it was stored."""
    found: dict[str, Any] = await db.scalar(select(RUNS.c.input).where(RUNS.c.id == key)) or {}
    return found


async def page(
    db: AsyncConnection,
    user: UUID,
    *,
    limit: int,
    before: UUID | None = None,
    statuses: Sequence[str] | None = None,
    thread: str | None = None,
) -> list[RunRow]:
    """A person's runs, the newest first."""
    query = _READING.where(RUNS.c.user_id == user).order_by(RUNS.c.id.desc()).limit(limit)
    if before:
        query = query.where(RUNS.c.id < before)
    if statuses:
        query = query.where(RUNS.c.status.in_(statuses))
    if thread is not None:
        query = query.where(THREADS.c.public_id == thread)
    return [RunRow(**row._mapping) for row in await db.execute(query)]
