"""The cookie of a sign-in: an opaque id that scripts cannot read."""

from starlette.requests import HTTPConnection
from starlette.responses import Response

from shared.settings import GatewaySettings

DAY_S = 86_400


def cookie_name(settings: GatewaySettings) -> str:
    """Over https the prefix makes browsers refuse the cookie from anybody but this very host."""
    return "__Host-baton_sign_in" if settings.secure else "baton_sign_in"


def sign_in_of(connection: HTTPConnection, settings: GatewaySettings) -> str | None:
    """The sign-in id that a request carries."""
    return connection.cookies.get(cookie_name(settings)) or None


def put_cookie(response: Response, sign_in: str, settings: GatewaySettings) -> None:
    """Hand a sign-in to the browser. Lax, because the way back from the issuer must carry it."""
    response.set_cookie(
        cookie_name(settings),
        sign_in,
        max_age=int(settings.sign_in_days * DAY_S),
        httponly=True,
        secure=settings.secure,
        samesite="lax",
        path="/",
    )


def drop_cookie(response: Response, settings: GatewaySettings) -> None:
    """Take it back."""
    response.delete_cookie(
        cookie_name(settings), httponly=True, secure=settings.secure, samesite="lax", path="/"
    )
