"""Tables about people: who they are, how they sign in, what they keep."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Text, func, text
from sqlmodel import Field, SQLModel

from shared.protocol.ids import uuid7


def time_of_insert() -> datetime:
    """A column that the database fills with the time of the insert."""
    return Field(  # type: ignore[no-any-return]
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()),
    )


def time_or_null() -> datetime | None:
    """A column for a time that may not have come yet."""
    return Field(default=None, sa_column=Column(DateTime(timezone=True)))  # type: ignore[no-any-return]


def time_known() -> datetime:
    """A column for a time that is always known."""
    return Field(sa_column=Column(DateTime(timezone=True), nullable=False))  # type: ignore[no-any-return]


class User(SQLModel, table=True):
    """A person, known by the e-mail address, with a profile that tools may read and change."""

    __tablename__ = "users"

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    email: str = Field(sa_column=Column(Text, nullable=False, unique=True))  # lower case
    subject: str | None = Field(default=None, sa_column=Column(Text, unique=True))  # issuer|sub
    admin: bool = False  # not used any more: BATON_ADMIN_EMAILS decides
    display_name: str | None = None
    locale: str | None = None
    time_zone: str | None = None
    about: str | None = None
    #: The newest turn given to a run of this person; the round robin counts on from it.
    turn: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=text("0"))
    )
    created_at: datetime = time_of_insert()


class SignIn(SQLModel, table=True):
    """A browser's sign-in. The id in the cookie is opaque; only its SHA-256 is kept."""

    __tablename__ = "sign_ins"
    __table_args__ = (Index("sign_ins_by_user", "user_id"),)

    id_hash: bytes = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    created_at: datetime = time_of_insert()
    expires_at: datetime = time_known()
    revoked_at: datetime | None = time_or_null()


class ApiKey(SQLModel, table=True):
    """A key for programs, shown once; only its SHA-256 and first characters are kept."""

    __tablename__ = "api_keys"
    __table_args__ = (Index("api_keys_by_user", "user_id"),)

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    name: str
    key_hash: bytes = Field(unique=True)
    shown: str  # `bt_` and the first characters, to tell keys apart
    #: Whether a caller of `/v1` who leaves an answer before its end stops the run.
    cancel_on_disconnect: bool = Field(
        default=False, sa_column=Column(Boolean, server_default="false", nullable=False)
    )
    created_at: datetime = time_of_insert()
    expires_at: datetime | None = time_or_null()
    revoked_at: datetime | None = time_or_null()
    used_at: datetime | None = time_or_null()


class Invite(SQLModel, table=True):
    """A link that signs one person in once, and lets the address sign in from then on."""

    __tablename__ = "invites"
    __table_args__ = (Index("invites_by_email", "email"),)

    token_hash: bytes = Field(primary_key=True)
    email: str
    invited_by: UUID | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    created_at: datetime = time_of_insert()
    expires_at: datetime = time_known()
    used_at: datetime | None = time_or_null()


class Note(SQLModel, table=True):
    """A note that an agent keeps for a person."""

    __tablename__ = "notes"
    __table_args__ = (
        Index("notes_by_user", "user_id", "created_at"),
        Index("notes_by_words", text("to_tsvector('simple', body)"), postgresql_using="gin"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    body: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = time_of_insert()
