"""People, and the sign-ins of their browsers. Of every secret only its SHA-256 comes here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    LargeBinary,
    Row,
    any_,
    bindparam,
    func,
    insert,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import invites
from gateway.store.tables import API_KEYS, SIGN_INS, USERS
from shared.protocol.ids import uuid7


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who may sign in; `subject` is `issuer|sub` where an issuer vouches for them."""

    id: UUID
    email: str
    subject: str | None
    display_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Whose a sign-in or a key is, and how long it counts."""

    user_id: UUID
    email: str
    expires_at: datetime | None
    used_at: datetime | None = None
    #: Whether an invitation lets the address in, as `invites.invited` says; asked of sign-ins only.
    invited: bool = False
    #: Of a key: what its owner calls it, and how it begins.
    key_name: str = ""
    key_shown: str = ""
    cancel_on_disconnect: bool = False


_PERSON = (
    USERS.c.id,
    USERS.c.email,
    USERS.c.subject,
    USERS.c.display_name,
)


def _person(row: Row[*tuple[Any, ...]] | None) -> Person | None:
    return Person(**row._mapping) if row else None


async def by_id(db: AsyncConnection, user: UUID) -> Person | None:
    """The person of an id."""
    return _person((await db.execute(select(*_PERSON).where(USERS.c.id == user))).one_or_none())


async def by_email(db: AsyncConnection, email: str, *, lock: bool = False) -> Person | None:
    """The person of an address in lower case."""
    query = select(*_PERSON).where(USERS.c.email == email)
    row = (await db.execute(query.with_for_update() if lock else query)).one_or_none()
    return _person(row)


async def by_subject(db: AsyncConnection, subject: str) -> Person | None:
    """The person an issuer vouches for."""
    query = select(*_PERSON).where(USERS.c.subject == subject)
    return _person((await db.execute(query)).one_or_none())


async def ensure(db: AsyncConnection, email: str) -> Person:
    """The person of an address, made if need be."""
    statement = (
        postgresql.insert(USERS)
        .values(id=uuid7(), email=email, admin=False)
        .on_conflict_do_update(index_elements=[USERS.c.email], set_={"email": email})
        .returning(*_PERSON)
    )
    return Person(**(await db.execute(statement)).one()._mapping)


async def move(db: AsyncConnection, user: UUID, email: str) -> Person | None:
    """Give a person another address; `None` where somebody else has it."""
    if await by_email(db, email):
        return None
    statement = update(USERS).where(USERS.c.id == user).values(email=email).returning(*_PERSON)
    return _person((await db.execute(statement)).one_or_none())


async def vouch(db: AsyncConnection, user: UUID, subject: str) -> bool:
    """Bind a person to a subject, once and for all; false where they have one already."""
    statement = (
        update(USERS)
        .where(USERS.c.id == user, USERS.c.subject.is_(None))
        .values(subject=subject)
        .returning(USERS.c.id)
    )
    return (await db.execute(statement)).one_or_none() is not None


async def open_sign_in(db: AsyncConnection, user: UUID, id_hash: bytes, expires: datetime) -> None:
    """Remember a browser."""
    values = {"id_hash": id_hash, "user_id": user, "expires_at": expires}
    await db.execute(insert(SIGN_INS).values(values))


async def end_sign_in(db: AsyncConnection, id_hash: bytes) -> None:
    """Forget a browser."""
    statement = (
        update(SIGN_INS)
        .where(SIGN_INS.c.id_hash == id_hash, SIGN_INS.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    await db.execute(statement)


_SIGN_IN_LIVES = SIGN_INS.c.revoked_at.is_(None) & (SIGN_INS.c.expires_at > func.now())
_KEY_LIVES = API_KEYS.c.revoked_at.is_(None) & (
    API_KEYS.c.expires_at.is_(None) | (API_KEYS.c.expires_at > func.now())
)


# Every request runs one of these two; building them anew would cost more than running them.
_OF_SIGN_IN = (
    select(
        SIGN_INS.c.user_id,
        USERS.c.email,
        SIGN_INS.c.expires_at,
        invites.lets_in(USERS.c.email).label("invited"),
    )
    .join(USERS, USERS.c.id == SIGN_INS.c.user_id)
    .where(SIGN_INS.c.id_hash == bindparam("hash"), _SIGN_IN_LIVES)
)
_OF_KEY = (
    select(
        API_KEYS.c.user_id,
        USERS.c.email,
        API_KEYS.c.expires_at,
        API_KEYS.c.used_at,
        API_KEYS.c.name.label("key_name"),
        API_KEYS.c.shown.label("key_shown"),
        API_KEYS.c.cancel_on_disconnect,
    )
    .join(USERS, USERS.c.id == API_KEYS.c.user_id)
    .where(API_KEYS.c.key_hash == bindparam("hash"), _KEY_LIVES)
)


# One array, for a statement has at most 65,535 parameters and a gateway may have more sockets.
_HASHES = bindparam("hashes", type_=ARRAY(LargeBinary))
_LIVING = union_all(
    select(SIGN_INS.c.id_hash).where(SIGN_INS.c.id_hash == any_(_HASHES), _SIGN_IN_LIVES),
    select(API_KEYS.c.key_hash).where(API_KEYS.c.key_hash == any_(_HASHES), _KEY_LIVES),
)


async def of_sign_in(db: AsyncConnection, id_hash: bytes) -> Credential | None:
    """Whose browser this is, if it is still signed in."""
    row = (await db.execute(_OF_SIGN_IN, {"hash": id_hash})).one_or_none()
    return Credential(**row._mapping) if row else None


async def of_key(db: AsyncConnection, key_hash: bytes) -> Credential | None:
    """Whose key this is, if it still counts."""
    row = (await db.execute(_OF_KEY, {"hash": key_hash})).one_or_none()
    return Credential(**row._mapping) if row else None


async def living(db: AsyncConnection, hashes: Sequence[bytes]) -> frozenset[bytes]:
    """Which of these sign-ins and keys still count: one query, however many there are."""
    found = await db.execute(_LIVING, {"hashes": list(hashes)})
    return frozenset(bytes(row[0]) for row in found)


async def note_use(db: AsyncConnection, key_hash: bytes) -> None:
    """Remember that a key was used, at most once a minute."""
    statement = (
        update(API_KEYS)
        .where(
            API_KEYS.c.key_hash == key_hash,
            API_KEYS.c.used_at.is_(None)
            | (API_KEYS.c.used_at < func.now() - text("interval '1 minute'")),
        )
        .values(used_at=func.now())
    )
    await db.execute(statement)
