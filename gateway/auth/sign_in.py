"""Opening and ending sign-ins, whatever way somebody came."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request

from gateway.auth.caller import hash_of, new_secret
from gateway.auth.cookies import sign_in_of
from gateway.store import people
from gateway.store.people import Person
from shared.settings import GatewaySettings


async def open_sign_in(
    db: AsyncConnection, request: Request, person: Person, settings: GatewaySettings
) -> str:
    """A new sign-in id for the cookie; the one the browser had before ends."""
    await end_sign_in(db, request, settings)
    sign_in = new_secret()
    expires = datetime.now(UTC) + timedelta(days=settings.sign_in_days)
    await people.open_sign_in(db, person.id, hash_of(sign_in), expires)
    return sign_in


async def end_sign_in(db: AsyncConnection, request: Request, settings: GatewaySettings) -> None:
    """End the sign-in that the request carries, if there is one."""
    if before := sign_in_of(request, settings):
        await people.end_sign_in(db, hash_of(before))
