"""`/auth/*`: who am I, sign out, and the ways in."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field, StringConstraints

from gateway.api.me import Me, describe
from gateway.api.routing import (
    PROBLEMS,
    SignedIn,
    StrictRoute,
    WithServices,
    refuse_other_sites,
)
from gateway.api.shapes import Body, Shape
from gateway.auth.cookies import drop_cookie, put_cookie
from gateway.auth.origin import host_is_ours
from gateway.auth.policy import admit, is_admin, normal_email
from gateway.auth.sign_in import end_sign_in, open_sign_in
from gateway.store.turns import Own
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.telemetry.logs import get_logger, user_hash

log = get_logger(__name__)


def auth_router() -> APIRouter:
    """An empty router for `/auth`, where every change must come from our own pages."""
    return APIRouter(
        prefix="/auth",
        tags=["sign-in"],
        route_class=StrictRoute,
        responses=PROBLEMS,
        dependencies=[Depends(refuse_other_sites)],
    )


router = auth_router()
dev_router = auth_router()

Email = Annotated[str, StringConstraints(min_length=3, max_length=256)]


class Ways(Shape):
    """How one can sign in here."""

    dev: bool = Field(description="By e-mail alone: `POST /auth/dev-login`.")
    issuer: bool = Field(description="At an identity provider: go to `/auth/login`.")
    issuer_name: str | None = Field(
        description="What to call the provider.", examples=["Google", "login.example.com"]
    )


class DevLogin(Body):
    """Who to be."""

    email: Email = Field(examples=["ada@example.com"])


@router.get("/me", operation_id="getSignedIn")
async def me(caller: SignedIn, services: WithServices) -> Me:
    """Who I am; 401 where nobody is signed in."""
    return await describe(services, caller)


@router.get("/ways", operation_id="getWaysToSignIn")
async def ways(services: WithServices) -> Ways:
    """How one can sign in here; open to everybody."""
    settings = services.settings
    issuer = settings.oidc_client_id is not None
    name = _name_of(settings.oidc_issuer) if issuer else None
    return Ways(dev=settings.dev_mode, issuer=issuer, issuer_name=name)


def _name_of(issuer: str) -> str:
    host = urlsplit(issuer).hostname or issuer
    return "Google" if host == "accounts.google.com" else host


@router.post("/logout", status_code=204, operation_id="signOut")
async def logout(request: Request, services: WithServices) -> Response:
    """End this browser's sign-in; its sockets close soon after."""
    async with services.db.writing(Own.SIGN_IN) as db:
        await end_sign_in(db, request, services.settings)
    response = Response(status_code=204)
    drop_cookie(response, services.settings)
    return response


@dev_router.post("/dev-login", operation_id="signInForDevelopment")
async def dev_login(
    body: DevLogin, request: Request, services: WithServices, response: Response
) -> Me:
    """Sign in by e-mail alone. In dev mode only; elsewhere this route does not exist."""
    if not host_is_ours(request.headers.get("host", ""), services.settings):
        raise BatonError(Code.FORBIDDEN, "Open this page as localhost, or set BATON_PUBLIC_URL.")
    async with services.db.writing(Own.SIGN_IN) as db:
        person = await admit(db, normal_email(body.email), services.settings)
        sign_in = await open_sign_in(db, request, person, services.settings)
    put_cookie(response, sign_in, services.settings)
    log.info("signed in", way="dev", user=user_hash(person.id))
    return Me.of(person, admin=is_admin(person.email, services.settings))
