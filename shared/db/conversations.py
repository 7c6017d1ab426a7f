"""Tables about conversations: threads, messages, runs.

A thread's row is the one lock of its runs: whoever changes a run's state holds it.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Column,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from shared.db.people import time_of_insert, time_or_null
from shared.protocol.ids import uuid7


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"  #: accepted; no runner has claimed it yet
    RUNNING = "running"  #: claimed; its runner's lease decides whether it still lives
    FINISHED = "finished"  #: ended well
    INTERRUPTED = "interrupted"  #: ended, and waits for a person's decision
    CANCELLED = "cancelled"  #: somebody stopped it
    FAILED = "failed"  #: ended with an error


#: A run whose carriers died so often since its last committed step is carried alone.
SUSPECT = 2

#: A run that has not ended.
LIVE = (RunStatus.QUEUED, RunStatus.RUNNING)


def counter(default: int = 0) -> int:
    """A number that only grows."""
    return Field(  # type: ignore[no-any-return]
        default=default,
        sa_column=Column(BigInteger, nullable=False, server_default=text(str(default))),
    )


def json_column(*, nullable: bool = True) -> Any:
    """JSON of others, kept as it came (`jsonb` would refuse what models write)."""
    return Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=nullable))


class Thread(SQLModel, table=True):
    """A conversation. `fence`, `settled` and `last` are what fencing rests on."""

    __tablename__ = "threads"
    __table_args__ = (
        UniqueConstraint("user_id", "public_id"),
        # The list of a person's threads, newest first.
        Index(
            "threads_by_user",
            "user_id",
            "updated_at",
            "id",
            postgresql_where=text("deleted_at IS NULL"),
        ),
        # The same without hidden ones; the release before uses the other one.
        Index(
            "threads_listed",
            "user_id",
            "updated_at",
            "id",
            postgresql_where=text("deleted_at IS NULL AND NOT hidden"),
        ),
        # The gateways' look every two seconds.
        Index("threads_by_commit", "committed_at"),
        # Those that retention deletes, the oldest first.
        Index("threads_hidden", "id", postgresql_where=text("hidden")),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    public_id: str
    agent: str
    title: str | None = None
    project_id: UUID | None = None
    #: Claims of this thread so far; only the newest may write.
    fence: int = counter()
    #: The newest fence below which SQL holds every event.
    settled: int = counter()
    #: Position of the newest settled event, and the chain's hash there.
    last_fence: int = counter()
    last_seq: int = counter()
    chain: bytes | None = None
    #: The current leaf of the tree of messages.
    head: str | None = None
    #: Made for one call that named no thread: nobody lists it.
    hidden: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    #: When events were last committed.
    committed_at: datetime | None = time_or_null()
    created_at: datetime = time_of_insert()
    updated_at: datetime = time_of_insert()
    deleted_at: datetime | None = time_or_null()


class Message(SQLModel, table=True):
    """One chat message as AG-UI has it; `parent` makes the tree of branches."""

    __tablename__ = "messages"
    __table_args__ = (
        # Reading a path: newest first within the thread.
        Index("messages_by_order", "thread_id", "ordinal"),
    )

    thread_id: UUID = Field(foreign_key="threads.id", ondelete="CASCADE", primary_key=True)
    id: str = Field(primary_key=True)
    parent: str | None = None
    run_id: UUID | None = None
    role: str
    content: Any = json_column(nullable=False)  # the whole AG-UI message
    #: Order of arrival within the database; grows along every path.
    ordinal: int = Field(
        default=None,
        sa_column=Column(
            BigInteger, nullable=False, server_default=text("nextval('messages_ordinal')")
        ),
    )
    created_at: datetime = time_of_insert()


class Run(SQLModel, table=True):
    """One execution, from an input to an outcome."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("user_id", "public_id"),
        # A claim picks the next run by turn.
        Index(
            "runs_waiting",
            "priority",
            "turn",
            "id",
            postgresql_where=text("status = 'queued' AND ready"),
        ),
        # Stranded runs: carried by a runner whose lease has ended.
        Index("runs_carried", "runner_id", postgresql_where=text("status = 'running'")),
        # What a thread waits for, and its list of runs.
        Index("runs_by_thread", "thread_id", "id"),
        # Which former code is still wanted: of runs that wait for somebody, and may be resumed.
        Index(
            "runs_in_want_of_code",
            "agent_digest",
            postgresql_where=text(
                "status = 'interrupted' OR error_code IN ('poisoned', 'tool_outcome_unknown')"
            ),
        ),
        # A run is resumed once; who asks again gets the same new run.
        Index(
            "runs_resumed",
            "user_id",
            "resumes",
            unique=True,
            postgresql_where=text("resumes IS NOT NULL"),
        ),
        # A person's list of runs, newest first.
        Index("runs_by_user", "user_id", "id"),
        # How many runs of a person go on or wait.
        Index(
            "runs_live",
            "user_id",
            "agent",
            postgresql_where=text("status IN ('queued', 'running')"),
        ),
        # What operators have to look at.
        Index("runs_poisoned", "id", postgresql_where=text("error_code = 'poisoned'")),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    public_id: str
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    thread_id: UUID = Field(foreign_key="threads.id", ondelete="CASCADE")
    #: The run whose journal, effects and trace this one continues; itself, unless it is a resume.
    root_id: UUID
    #: The public id of the run that this one resumes.
    resumes: str | None = None
    agent: str
    status: str = RunStatus.QUEUED
    #: Whether it is the thread's turn; the others wait behind it.
    ready: bool = True
    priority: int = 0
    turn: int = counter()
    #: Parent of its user message: the history is the path to it.
    base: str | None = None
    message_id: str | None = None
    #: What the client sent, and its digest: the same id with another body is refused.
    input: Any = json_column(nullable=False)
    input_digest: bytes
    project_id: UUID | None = None
    runner_id: str | None = None
    fence: int | None = Field(default=None, sa_column=Column(BigInteger))
    first_fence: int | None = Field(default=None, sa_column=Column(BigInteger))
    agent_digest: str | None = None
    #: Commits under the present fence, and the digest of the newest: repeats are recognised.
    commits: int = 0
    commit_digest: bytes | None = None
    #: Deaths of its carrier since its last committed step.
    deaths: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    #: The process of its own that shall carry it, or did; how long others wait for its claim, and
    #: the runner that starts it, after whose death they wait no longer.
    lone_id: str | None = None
    lone_until: datetime | None = time_or_null()
    lone_starter: str | None = None
    #: How such a process died last: status, lines of its output.
    last_words: Any = json_column()
    cancel_requested_at: datetime | None = time_or_null()
    error_code: str | None = None
    error_message: str | None = Field(default=None, sa_column=Column(Text))
    usage: Any = json_column()
    #: The receipt signed at its end, as canonical JSON.
    receipt: str | None = Field(default=None, sa_column=Column(Text))
    #: Of a root run: tables from which retention has begun to delete its rows.
    forgotten: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    created_at: datetime = time_of_insert()
    claimed_at: datetime | None = time_or_null()
    started_at: datetime | None = time_or_null()
    ended_at: datetime | None = time_or_null()
    #: When its caller deleted it as a response; as a run it stays.
    deleted_at: datetime | None = time_or_null()
