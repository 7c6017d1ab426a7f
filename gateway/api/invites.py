"""Inviting people, so that a team can start without an identity provider."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Request
from pydantic import Field, StringConstraints

from gateway.api.routing import Admin, WithServices, api_router
from gateway.api.shapes import Body, Shape
from gateway.auth.caller import hash_of, new_secret
from gateway.auth.origin import base_url
from gateway.auth.policy import normal_email
from gateway.store import invites
from shared.telemetry.logs import get_logger

log = get_logger(__name__)
router = api_router("people")

VALID_FOR = timedelta(days=7)


class NewInvite(Body):
    """Whom to invite."""

    email: Annotated[str, StringConstraints(max_length=256)] = Field(examples=["ada@example.com"])


class Invite(Shape):
    """A link for one person, which works once; it is shown here and nowhere else."""

    email: str
    url: str = Field(examples=["https://chat.example.com/auth/invite#Zq3kT8…"])
    expires_at: datetime


@router.post("/invites", status_code=201, operation_id="invite")
async def invite(
    body: NewInvite, request: Request, caller: Admin, services: WithServices
) -> Invite:
    """Make a link that signs the person in once; from then on the address may sign in."""
    email, token = normal_email(body.email), new_secret()
    expires = datetime.now(UTC) + VALID_FOR
    async with services.db.writing(caller.user_id) as db:
        await invites.make(db, email, hash_of(token), caller.user_id, expires)
    log.info("somebody was invited")
    url = f"{base_url(request, services.settings)}/auth/invite#{token}"
    return Invite(email=email, url=url, expires_at=expires)
