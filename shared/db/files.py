"""Files of people: what they bring, what tools make, and results too large for a model."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, LargeBinary
from sqlmodel import Field, SQLModel

from shared.db.people import time_of_insert


class File(SQLModel, table=True):
    """Bytes that messages, events and journals refer to; they go with their thread or owner.

    Equal bytes are stored once for each file, and nobody can find out what others have.
    """

    __tablename__ = "files"
    # Whoever is deleted takes their files along, and need not look through all there are.
    __table_args__ = (
        Index("files_by_user", "user_id"),
        Index("files_by_thread", "thread_id"),
        Index("files_by_root", "root_id"),
    )

    id: UUID = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    #: Where it belongs; a file that a person brings has none until it is sent in a message.
    thread_id: UUID | None = Field(default=None, foreign_key="threads.id", ondelete="CASCADE")
    #: The root run that made it.
    root_id: UUID | None = Field(default=None, foreign_key="runs.id", ondelete="CASCADE")
    #: What people call it; what a tool returned has none.
    name: str | None = None
    media_type: str
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    sha256: bytes
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = time_of_insert()
