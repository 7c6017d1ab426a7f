"""Signing in at an OpenID Connect issuer: Google, or any other with discovery.

authlib does the protocol (PKCE S256, state, nonce, signature, issuer, audience, expiry). What a
sign-in under way must remember lies in a signed cookie, so that any gateway can take the way back.
"""

from typing import Any

from authlib.integrations.starlette_client import OAuth  # type: ignore[import-untyped]
from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from gateway.api.routing import WithServices
from gateway.auth.cookies import put_cookie
from gateway.auth.origin import base_url
from gateway.auth.pages import refusal_page
from gateway.auth.policy import admit_subject, normal_email
from gateway.auth.sign_in import open_sign_in
from gateway.services import Services
from gateway.store.turns import Own
from shared.errors import BatonError
from shared.settings import GatewaySettings
from shared.telemetry.logs import get_logger, user_hash

log = get_logger(__name__)

#: Cookie of a sign-in under way, and how long people may take at the issuer.
STATE_COOKIE = "baton_sign_in_state"
STATE_LIFE_S = 600
ISSUER_TIMEOUT_S = 2.5


class RefusedError(Exception):
    """The issuer's answer does not let anybody in; the text is for the person."""


def oidc_router(settings: GatewaySettings) -> APIRouter:
    """The way to the issuer and back."""
    issuer = _client(settings)
    router = APIRouter(prefix="/auth", include_in_schema=False)

    @router.get("/login")
    async def login(request: Request) -> Response:
        request.session.clear()
        there = f"{base_url(request, settings)}/auth/callback"
        try:
            answer: Response = await issuer.authorize_redirect(request, there)
        except Exception as error:  # noqa: BLE001 - whatever the issuer's discovery may do
            log.warning("the issuer cannot be reached", error=repr(error))
            return refusal_page("The identity provider cannot be reached. Try again.", 502)
        return answer

    @router.get("/callback")
    async def callback(request: Request, services: WithServices) -> Response:
        try:
            claims = await _claims(issuer, request, settings)
            return await _sign_in(services, request, claims)
        except RefusedError as error:
            return refusal_page(str(error), 400)
        except BatonError as error:
            return refusal_page(error.message, error.status)
        finally:
            request.session.clear()

    return router


def _client(settings: GatewaySettings) -> Any:
    secret = settings.oidc_client_secret
    registry = OAuth()
    return registry.register(
        name="issuer",
        client_id=settings.oidc_client_id,
        client_secret=secret.get_secret_value() if secret else None,
        server_metadata_url=f"{settings.oidc_issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": "openid email profile",
            "code_challenge_method": "S256",
            "timeout": ISSUER_TIMEOUT_S,
        },
    )


async def _claims(issuer: Any, request: Request, settings: GatewaySettings) -> dict[str, Any]:
    """What the issuer says of the person, verified."""
    try:
        token = await issuer.authorize_access_token(
            request,
            claims_options={
                "iss": {"essential": True, "values": _spellings(settings.oidc_issuer)},
                "aud": {"essential": True, "value": settings.oidc_client_id},
                "sub": {"essential": True},
            },
        )
    except Exception as error:
        # A forged state, a refusal by the person, a token that does not verify, a broken issuer.
        log.warning("a sign-in at the issuer failed", error=repr(error))
        raise RefusedError("Signing in did not work. Try again from the beginning.") from error
    claims = dict(token.get("userinfo") or {})
    if not claims:
        raise RefusedError("The identity provider did not say who you are.")
    if claims.get("email_verified") not in (True, "true") or not claims.get("email"):
        raise RefusedError("The identity provider has not verified your e-mail address.")
    return claims


def _spellings(issuer: str) -> list[str]:
    bare = issuer.rstrip("/")
    return [bare, f"{bare}/"]


async def _sign_in(services: Services, request: Request, claims: dict[str, Any]) -> Response:
    settings = services.settings
    email = normal_email(str(claims["email"]))
    subject = f"{claims['iss']}|{claims['sub']}"
    async with services.db.writing(Own.SIGN_IN) as db:
        person = await admit_subject(db, email, subject, settings)
        sign_in = await open_sign_in(db, request, person, settings)
    response = RedirectResponse("/", 303)
    put_cookie(response, sign_in, settings)
    log.info("signed in", way="issuer", user=user_hash(person.id))
    return response
