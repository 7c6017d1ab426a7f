"""Who may sign in, and who is an admin."""

import re

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.auth.caller import OPERATOR_EMAIL
from gateway.store import invites, people
from gateway.store.people import Person
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.settings import GatewaySettings

#: Not RFC 5322; enough to keep nonsense out. The issuer vouches for the rest.
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,190}")


def normal_email(text: str) -> str:
    """The address in the one form in which it is kept; BAD_INPUT where it is none."""
    email = text.strip().lower()
    if not _EMAIL.fullmatch(email):
        raise BatonError(Code.BAD_INPUT, "email: this is not an e-mail address.")
    return email


def listed(email: str, entries: tuple[str, ...]) -> bool:
    """Whether an address is on a list of addresses and domains (`example.com`, `@example.com`)."""
    domain = email.rpartition("@")[2]
    lowered = {entry.lower().removeprefix("@") for entry in entries}
    return email in lowered or domain in lowered


async def may_sign_in(db: AsyncConnection, email: str, settings: GatewaySettings) -> bool:
    """Whether the settings, or somebody's invitation, let this address in."""
    return (
        settings.dev_mode
        or listed(email, settings.allowed_emails)
        or is_admin(email, settings)
        or await invites.invited(db, email)
    )


def is_admin(email: str, settings: GatewaySettings) -> bool:
    """Whether the settings name this very address as an admin's; a domain names nobody."""
    return "@" in email and email in {entry.lower() for entry in settings.admin_emails}


async def admit(db: AsyncConnection, email: str, settings: GatewaySettings) -> Person:
    """The person of an address that may sign in, made if need be; FORBIDDEN otherwise."""
    if not await may_sign_in(db, email, settings):
        raise BatonError(
            Code.FORBIDDEN, "This address may not sign in here; ask for an invitation."
        )
    return await people.ensure(db, email, admin=is_admin(email, settings))


async def admit_subject(
    db: AsyncConnection, email: str, subject: str, settings: GatewaySettings
) -> Person:
    """The person an issuer vouches for. The subject is who they are; the address may change.

    Raises:
        BatonError: FORBIDDEN where the address may not sign in, or belongs to another subject.
    """
    known = await people.by_subject(db, subject)
    if known is not None:
        if not await may_sign_in(db, email, settings):
            raise BatonError(Code.FORBIDDEN, "This address may not sign in here any more.")
        if is_admin(email, settings) and email == known.email:
            return await people.ensure(db, email, admin=True)
        return known
    if email == OPERATOR_EMAIL:
        raise BatonError(Code.FORBIDDEN)
    person = await admit(db, email, settings)
    if not await people.vouch(db, person.id, subject):
        raise BatonError(Code.FORBIDDEN, "This address belongs to somebody else here.")
    return person
