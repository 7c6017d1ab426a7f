"""Tables of the record of runs: events, steps, effects, spans, and who carries them."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, Computed, DateTime, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from shared.db.conversations import json_column
from shared.db.people import time_of_insert, time_or_null


def _big(*, key: bool = False) -> Any:
    return Field(sa_column=Column(BigInteger, primary_key=key, nullable=False, autoincrement=False))


class Event(SQLModel, table=True):
    """One row of a thread's events: one event, or adjacent deltas of one message joined.

    `hash` continues the thread's chain; it is null only for the start row of a take-over until
    its fence settles. `data` is the event's JSON text, never parsed by SQL.
    """

    __tablename__ = "events"
    __table_args__ = (
        # The events of one run.
        Index("events_by_run", "run_id", "fence", "seq"),
    )

    thread_id: UUID = Field(foreign_key="threads.id", ondelete="CASCADE", primary_key=True)
    fence: int = _big(key=True)
    seq: int = _big(key=True)
    seq_to: int = _big()
    run_id: UUID
    type: str
    data: str = Field(sa_column=Column(Text, nullable=False))
    salt: bytes
    digest: bytes
    hash: bytes | None = None


class Head(SQLModel, table=True):
    """Where a thread's chain begins since retention has deleted the rows before."""

    __tablename__ = "heads"

    thread_id: UUID = Field(foreign_key="threads.id", ondelete="CASCADE", primary_key=True)
    #: Position of the newest event that was deleted, and the chain's hash there.
    fence: int = _big()
    seq: int = _big()
    hash: bytes
    #: Rows deleted so far.
    rows: int = _big()
    #: The same as a signed statement, as canonical JSON; without a key there is none.
    signed: str | None = Field(default=None, sa_column=Column(Text))


class Step(SQLModel, table=True):
    """A finished model response or tool call, so that replay need not do it again."""

    __tablename__ = "steps"
    __table_args__ = (Index("steps_in_order", "root_id", "ordinal", unique=True),)

    root_id: UUID = Field(foreign_key="runs.id", ondelete="CASCADE", primary_key=True)
    scope: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    #: Position of a model call inside its invocation, or the id of a tool call.
    place: str = Field(primary_key=True)
    #: Order of the commits, over all scopes.
    ordinal: int = _big()
    run_id: UUID
    fence: int = _big()
    digest: str
    record: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = time_of_insert()


#: What `EffectKey.as_text` of toolsvc says. The cast reads a backslash as an escape: it is doubled.
EFFECT_KEY = r"""encode(sha256(
    sha256(uuid_send(root_id))
    || sha256(CAST(replace(scope, '\', '\\') AS bytea))
    || sha256(CAST(replace(call_id, '\', '\\') AS bytea))
    || sha256(arguments_digest)), 'hex')"""


class EffectStatus(StrEnum):
    """Where a call of a tool stands."""

    CLAIMED = "claimed"  #: its executor runs it, or died: its lease decides
    DONE = "done"  #: it took effect; there is a result
    FAILED = "failed"  #: it ended with an error
    UNKNOWN = "unknown"  #: its executor died; nobody knows whether it took effect
    RETRY = "retry"  #: a person decided that it shall be run again


class Snapshot(SQLModel, table=True):
    """Where a long run stood: a cache of the runners, so that replay need not go all the way."""

    __tablename__ = "snapshots"

    root_id: UUID = Field(foreign_key="runs.id", ondelete="CASCADE", primary_key=True)
    fence: int = _big()
    state: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = time_of_insert()


class Effect(SQLModel, table=True):
    """The ledger: one tool call of toolsvc, at most once per key."""

    __tablename__ = "effects"
    __table_args__ = (
        Index("effects_by_key", "key", unique=True),
        # What a person may have to settle.
        Index(
            "effects_unsettled",
            "root_id",
            postgresql_where=text("status IN ('claimed', 'unknown')"),
        ),
    )

    root_id: UUID = Field(foreign_key="runs.id", ondelete="CASCADE", primary_key=True)
    scope: str = Field(primary_key=True)
    call_id: str = Field(primary_key=True)
    arguments_digest: bytes = Field(primary_key=True)
    #: The whole key as text: what other services got as `Idempotency-Key`.
    key: str = Field(sa_column=Column(Text, Computed(EFFECT_KEY, persisted=True), nullable=False))
    run_id: UUID
    tool: str
    #: As JSON, as long as somebody may have to settle the call; their digest stays.
    arguments: str | None = Field(default=None, sa_column=Column(Text))
    status: str  # an EffectStatus
    executor: str
    executor_until: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    result: str | None = Field(default=None, sa_column=Column(Text))
    error_code: str | None = None
    error_message: str | None = Field(default=None, sa_column=Column(Text))
    created_at: datetime = time_of_insert()
    done_at: datetime | None = time_or_null()
    #: What a person said of it (`done`, `failed` or `retry`), who, and when.
    settled_as: str | None = None
    settled_by: str | None = None
    settled_at: datetime | None = time_or_null()


class Span(SQLModel, table=True):
    """A span of a run's trace, as the SDK made it."""

    __tablename__ = "spans"
    __table_args__ = (Index("spans_in_order", "root_id", "started_at"),)

    id: str = Field(primary_key=True)
    root_id: UUID = Field(foreign_key="runs.id", ondelete="CASCADE")
    parent_id: str | None = None
    fence: int = _big()
    started_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    ended_at: datetime | None = time_or_null()
    data: Any = json_column(nullable=False)
    error: Any = json_column()


class Runner(SQLModel, table=True):
    """A process that holds a lease: a runner, or toolsvc itself while it closes runs."""

    __tablename__ = "runners"
    __table_args__ = (Index("runners_by_lease", "lease_until"),)

    id: str = Field(primary_key=True)
    lease_until: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    started_at: datetime = time_of_insert()
    version: str = ""
    slots: int = 0
    #: What it serves: name → {digest, title, …}; and what failed to import.
    agents: Any = json_column()
    broken: Any = json_column()
    carried: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    #: Digests of former code that it keeps; and whether it leaves runs alone whose code is gone.
    former: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    same_code: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    #: SHA-256 of the secret by which it alone speaks under this id; of the first one shown.
    secret: bytes | None = None
