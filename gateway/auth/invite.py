"""Signing in by an invitation: a link that works once.

Its secret stands behind `#`, so no server and no log sees it before its owner presses the button.
"""

from typing import Annotated

from fastapi import Request, Response
from pydantic import StringConstraints
from starlette.responses import HTMLResponse

from gateway.api.me import Me
from gateway.api.routing import WithServices
from gateway.api.shapes import Body
from gateway.auth.caller import hash_of
from gateway.auth.cookies import put_cookie
from gateway.auth.pages import invite_page
from gateway.auth.policy import admit, is_admin
from gateway.auth.routes import auth_router
from gateway.auth.sign_in import open_sign_in
from gateway.store import invites
from gateway.store.turns import Own
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.telemetry.logs import get_logger, user_hash

log = get_logger(__name__)
router = auth_router()


class InviteToken(Body):
    """What stands behind `#` in the link."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=256)]


@router.get("/invite", include_in_schema=False)
async def show_invite() -> HTMLResponse:
    """The page that an invitation's link leads to."""
    return invite_page()


@router.post("/invite", operation_id="signInByInvitation")
async def take_invite(
    body: InviteToken, request: Request, services: WithServices, response: Response
) -> Me:
    """Sign in by an invitation, once."""
    settings = services.settings
    async with services.db.writing(Own.SIGN_IN) as db:
        email = await invites.take(db, hash_of(body.token))
        if email is None:
            raise BatonError(Code.NOT_FOUND)
        person = await admit(db, email, settings)
        sign_in = await open_sign_in(db, request, person, settings)
    put_cookie(response, sign_in, settings)
    log.info("signed in", way="invitation", user=user_hash(person.id))
    return Me.of(person, admin=is_admin(person.email, settings))
