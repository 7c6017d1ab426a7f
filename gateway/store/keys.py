"""API keys: shown once, kept as SHA-256."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import API_KEYS, USERS
from shared.protocol.ids import uuid7


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key as its owner sees it afterwards."""

    id: UUID
    name: str
    shown: str
    email: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    cancel_on_disconnect: bool


_READING = select(
    API_KEYS.c.id,
    API_KEYS.c.name,
    API_KEYS.c.shown,
    USERS.c.email,
    API_KEYS.c.created_at,
    API_KEYS.c.expires_at,
    API_KEYS.c.revoked_at,
    API_KEYS.c.used_at,
    API_KEYS.c.cancel_on_disconnect,
).join(USERS, USERS.c.id == API_KEYS.c.user_id)


async def make(
    db: AsyncConnection,
    user: UUID,
    *,
    name: str,
    key_hash: bytes,
    shown: str,
    expires_at: datetime | None,
    cancel_on_disconnect: bool,
) -> KeyRow:
    """Remember a new key."""
    values = {
        "id": uuid7(),
        "user_id": user,
        "name": name,
        "key_hash": key_hash,
        "shown": shown,
        "expires_at": expires_at,
        "cancel_on_disconnect": cancel_on_disconnect,
    }
    await db.execute(insert(API_KEYS).values(values))
    row = (await db.execute(_READING.where(API_KEYS.c.id == values["id"]))).one()
    return KeyRow(**row._mapping)


async def page(
    db: AsyncConnection, *, user: UUID | None, limit: int, before: UUID | None
) -> Sequence[KeyRow]:
    """Keys, the newest first: one person's, or everybody's."""
    query = _READING.order_by(API_KEYS.c.id.desc()).limit(limit)
    if user:
        query = query.where(API_KEYS.c.user_id == user)
    if before:
        query = query.where(API_KEYS.c.id < before)
    return [KeyRow(**row._mapping) for row in await db.execute(query)]


async def revoke(db: AsyncConnection, key: UUID, *, user: UUID | None) -> bool:
    """End a key, of one person or of anybody; false where there is none such."""
    statement = (
        update(API_KEYS)
        .where(API_KEYS.c.id == key)
        .values(revoked_at=func.coalesce(API_KEYS.c.revoked_at, func.now()))
        .returning(API_KEYS.c.id)
    )
    if user:
        statement = statement.where(API_KEYS.c.user_id == user)
    return (await db.execute(statement)).one_or_none() is not None
