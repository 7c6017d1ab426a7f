"""Who may sign in, who may stay, and who is an admin: the settings decide, at each request anew.

Invitations let in besides. The operator's own account is nobody's address.
"""

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
    _refuse_operator(email)
    return email


def listed(email: str, entries: tuple[str, ...]) -> bool:
    """Whether an address is on a list of addresses and domains (`example.com`, `@example.com`)."""
    domain = email.rpartition("@")[2]
    lowered = {entry.lower().removeprefix("@") for entry in entries}
    return email in lowered or domain in lowered


def may_stay(email: str, settings: GatewaySettings, *, invited: bool) -> bool:
    """Whether the settings, or somebody's invitation, let the person of this address be here."""
    return email != OPERATOR_EMAIL and (
        invited
        or settings.dev_mode
        or listed(email, settings.allowed_emails)
        or is_admin(email, settings)
    )


async def may_sign_in(db: AsyncConnection, email: str, settings: GatewaySettings) -> bool:
    """`may_stay`, for an address of which it is not known whether it is invited.

    Raises:
        BatonError: FORBIDDEN for the operator's own address, which nobody signs in with.
    """
    _refuse_operator(email)
    return may_stay(email, settings, invited=False) or await invites.invited(db, email)


def is_admin(email: str, settings: GatewaySettings) -> bool:
    """Whether the settings name this very address as an admin's; a domain names nobody.

    The operator is one too: that account has keys only, and only the operator makes them.
    """
    admins = {entry.lower() for entry in settings.admin_emails}
    return email == OPERATOR_EMAIL or ("@" in email and email in admins)


def _refuse_operator(email: str) -> None:
    if email == OPERATOR_EMAIL:
        raise BatonError(
            Code.FORBIDDEN,
            f"{OPERATOR_EMAIL} is the operator's own account, which is known by its key alone; "
            "choose another address.",
        )


async def admit(db: AsyncConnection, email: str, settings: GatewaySettings) -> Person:
    """The person of an address that may sign in, made if need be; FORBIDDEN otherwise."""
    if not await may_sign_in(db, email, settings):
        raise BatonError(
            Code.FORBIDDEN, "This address may not sign in here; ask for an invitation."
        )
    return await people.ensure(db, email)


async def admit_subject(
    db: AsyncConnection, email: str, subject: str, settings: GatewaySettings
) -> Person:
    """The person an issuer vouches for. The subject is who they are; the address may change.

    The one that was kept stays, unless it may not sign in here any more.

    Raises:
        BatonError: FORBIDDEN where the address may not sign in, or belongs to another subject.
    """
    known = await people.by_subject(db, subject)
    if known is not None:
        if not await may_sign_in(db, email, settings):
            raise BatonError(Code.FORBIDDEN, "This address may not sign in here any more.")
        if email == known.email or await may_sign_in(db, known.email, settings):
            return known
        moved = await people.move(db, known.id, email)
        if moved is None:
            raise BatonError(Code.FORBIDDEN, "This address belongs to somebody else here.")
        return moved
    person = await admit(db, email, settings)
    if not await people.vouch(db, person.id, subject):
        raise BatonError(Code.FORBIDDEN, "This address belongs to somebody else here.")
    return person
