"""Interrupts: what runs have asked people, and what those said."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Column, Index, Text, text
from sqlmodel import Field, SQLModel

from shared.db.people import time_of_insert, time_or_null


class InterruptStatus(StrEnum):
    """Where a question stands."""

    OPEN = "open"  #: nobody has decided yet
    APPROVED = "approved"  #: the call is carried out, once
    REJECTED = "rejected"  #: the model is told so, in place of a result
    SUPERSEDED = "superseded"  #: the thread went on without it


class Interrupt(SQLModel, table=True):
    """A question that a run ended with. A thread with an open one waits for a person."""

    __tablename__ = "interrupts"
    __table_args__ = (
        # What a thread waits for.
        Index("interrupts_open", "thread_id", postgresql_where=text("status = 'open'")),
        # What a claim is told, and what one run has asked.
        Index("interrupts_by_root", "root_id", "run_id", "ordinal"),
    )

    id: str = Field(primary_key=True)
    thread_id: UUID = Field(foreign_key="threads.id", ondelete="CASCADE")
    root_id: UUID = Field(foreign_key="runs.id", ondelete="CASCADE")
    run_id: UUID
    #: Its place among those of its run.
    ordinal: int
    reason: str
    #: The call: where it was made, and its place in the journal there.
    scope: str
    call_id: str
    agent: str
    tool: str
    #: As the model wrote them; a decision counts for this digest alone.
    arguments: str = Field(sa_column=Column(Text, nullable=False))
    digest: str
    status: str = InterruptStatus.OPEN
    #: What a person said, who, and when.
    message: str | None = Field(default=None, sa_column=Column(Text))
    decided_by: str | None = None
    decided_at: datetime | None = time_or_null()
    created_at: datetime = time_of_insert()
