"""API keys, for programs."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Self
from uuid import UUID

from fastapi import Query
from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.routing import PathId, SignedIn, WithServices, api_router
from gateway.api.shapes import (
    Body,
    Cursor,
    Limit,
    Line,
    Page,
    Shape,
    page_of,
    parse_time_cursor,
    time_cursor,
)
from gateway.auth.caller import Caller, How, hash_of, new_key
from gateway.auth.policy import admit, normal_email
from gateway.services import Services
from gateway.store import keys, people
from gateway.store.keys import KeyRow
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.settings.access import SHOWN_CHARS
from shared.telemetry.logs import get_logger

log = get_logger(__name__)
router = api_router("keys")


class NewKey(Body):
    """A key to be."""

    name: Annotated[Line, StringConstraints(max_length=100)] = Field("", examples=["laptop"])
    email: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        None, description="Whose key it shall be; of somebody else, for admins only."
    )
    expires_in_days: float | None = Field(None, gt=0, le=3650, examples=[90])
    cancel_on_disconnect: bool = Field(
        False, description="Whether who leaves an answer of `/v1` before its end stops the run."
    )


class Key(Shape):
    """A key, without its secret."""

    id: UUID
    name: str
    shown: str = Field(description="How it begins.", examples=["bt_Zq3kT8"])
    email: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    cancel_on_disconnect: bool

    @classmethod
    def of(cls, row: KeyRow) -> Self:
        """A key as its owner sees it afterwards."""
        return cls(
            id=row.id,
            name=row.name,
            shown=row.shown,
            email=row.email,
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            used_at=row.used_at,
            cancel_on_disconnect=row.cancel_on_disconnect,
        )


class MadeKey(Key):
    """A new key, shown this once."""

    key: str = Field(examples=["bt_Zq3kT8…"])


@router.post("/keys", status_code=201, operation_id="createKey")
async def create_key(body: NewKey, caller: SignedIn, services: WithServices) -> MadeKey:
    """Make a key. It is shown here and nowhere else ever again."""
    key = new_key()
    async with services.db.writing(caller.user_id) as db:
        row = await keys.make(
            db,
            await _owner(db, body.email, caller, services),
            name=body.name,
            key_hash=hash_of(key),
            shown=key[:SHOWN_CHARS],
            expires_at=_expiry(body.expires_in_days, caller),
            cancel_on_disconnect=body.cancel_on_disconnect,
        )
    log.info("a key was made", key=str(row.id))
    return MadeKey(key=key, **Key.of(row).model_dump())


@router.get("/keys", operation_id="listKeys")
async def list_keys(
    caller: SignedIn,
    services: WithServices,
    limit: Limit = 50,
    cursor: Annotated[Cursor, Query()] = None,
    everybody: Annotated[bool, Query(description="All keys there are; for admins only.")] = False,
) -> Page[Key]:
    """List keys, the newest first, revoked and expired ones too."""
    if everybody and not caller.admin:
        raise BatonError(Code.FORBIDDEN, "Only admins see other people's keys.")
    before = parse_time_cursor(cursor)
    async with services.db.reading(caller.user_id) as db:
        rows = await keys.page(
            db,
            user=None if everybody else caller.user_id,
            limit=limit + 1,
            before=before[1] if before else None,
        )
    return page_of(
        rows, limit, shape=Key.of, cursor=lambda row: time_cursor(row.created_at, row.id)
    )


@router.delete("/keys/{id}", status_code=204, operation_id="revokeKey")
async def revoke_key(key_id: PathId, caller: SignedIn, services: WithServices) -> None:
    """End a key at once; admins may end anybody's."""
    try:
        key = UUID(key_id)
    except ValueError:
        raise BatonError(Code.NOT_FOUND) from None
    async with services.db.writing(caller.user_id) as db:
        if not await keys.revoke(db, key, user=None if caller.admin else caller.user_id):
            raise BatonError(Code.NOT_FOUND)
    log.info("a key was revoked", key=str(key))


async def _owner(
    db: AsyncConnection, email: str | None, caller: Caller, services: Services
) -> UUID:
    """Whose key it will be. The operator may name anybody, an admin whoever may sign in."""
    if not email or email.strip().lower() == caller.email:
        return caller.user_id
    wanted = normal_email(email)
    if not caller.admin:
        raise BatonError(Code.FORBIDDEN, "Only admins make keys for somebody else.")
    if caller.how is How.OPERATOR:
        return (await people.ensure(db, wanted)).id
    known = await people.by_email(db, wanted)
    return known.id if known else (await admit(db, wanted, services.settings)).id


def _expiry(days: float | None, caller: Caller) -> datetime | None:
    """When the key ends: never later than the key by which it was made."""
    wanted = datetime.now(UTC) + timedelta(days=days) if days else None
    if caller.how is How.KEY and caller.expires_at:
        return min(wanted or caller.expires_at, caller.expires_at)
    return wanted
