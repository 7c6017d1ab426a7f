"""Invitations: a link that signs one person in once."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Exists, exists, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import INVITES


async def make(
    db: AsyncConnection, email: str, token_hash: bytes, invited_by: UUID, expires: datetime
) -> None:
    """Remember an invitation."""
    values = {
        "token_hash": token_hash,
        "email": email,
        "invited_by": invited_by,
        "expires_at": expires,
    }
    await db.execute(insert(INVITES).values(values))


async def take(db: AsyncConnection, token_hash: bytes) -> str | None:
    """Use an invitation up; the address it was for, once."""
    statement = (
        update(INVITES)
        .where(
            INVITES.c.token_hash == token_hash,
            INVITES.c.used_at.is_(None),
            INVITES.c.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(INVITES.c.email)
    )
    found: str | None = (await db.execute(statement)).scalar_one_or_none()
    return found


def lets_in(email: ColumnElement[str]) -> Exists:
    """In SQL: whether the address followed an invitation, or still may."""
    return exists().where(
        INVITES.c.email == email,
        INVITES.c.used_at.is_not(None) | (INVITES.c.expires_at > func.now()),
    )


async def invited(db: AsyncConnection, email: str) -> bool:
    """Whether an invitation lets the address in."""
    return bool((await db.execute(select(lets_in(literal(email))))).scalar_one())
