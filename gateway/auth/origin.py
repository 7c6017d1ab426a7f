"""Where a request may come from: one rule for the socket and for requests that change something.

Cookies ignore the port, and browsers send them along whoever asks. So the page's origin decides.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from shared.settings import GatewaySettings
from shared.settings.gateway import is_loopback

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OVER_TLS = frozenset({"https", "wss"})


def origin_allowed(origin: str, connection: HTTPConnection, settings: GatewaySettings) -> bool:
    """Whether pages of `origin` may act for the person whose cookie they send."""
    origin = origin.lower()
    if origin in {_bare(listed) for listed in (*settings.origins, settings.public_url or "")}:
        return True
    host = connection.headers.get("host", "")
    return origin == _own_origin(connection, host, settings) and host_is_ours(host, settings)


def host_is_ours(host: str, settings: GatewaySettings) -> bool:
    """Whether a `Host` header names this gateway and not a name that somebody pointed at us.

    Dev mode lets everybody in, so there a page whose own name resolves to 127.0.0.1 (DNS
    rebinding) would need no cookie at all.
    """
    if not settings.dev_mode:
        return True
    name = urlsplit(f"//{host}").hostname or ""
    return is_loopback(name) or name == urlsplit(settings.public_url or "").hostname


def comes_from_elsewhere(connection: HTTPConnection, settings: GatewaySettings) -> bool:
    """Whether a browser says that another site's page asks.

    A request with neither header is no browser's (they all send one of them with whatever is not
    GET); such a program would have had to be given the cookie.
    """
    headers: Headers = connection.headers
    if headers.get("sec-fetch-site") in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return "sec-fetch-site" in headers
    return not origin_allowed(origin, connection, settings)


def base_url(connection: HTTPConnection, settings: GatewaySettings) -> str:
    """Where people reach us, for links that leave this page."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    return _own_origin(connection, connection.headers.get("host", ""), settings)


def _own_origin(connection: HTTPConnection, host: str, settings: GatewaySettings) -> str:
    public = urlsplit(settings.public_url or "")
    if public.netloc and host.lower() == public.netloc.lower():
        return _bare(settings.public_url or "")
    scheme = "https" if connection.scope["scheme"] in _OVER_TLS else "http"
    return f"{scheme}://{host}".lower()


def _bare(url: str) -> str:
    """An origin as browsers write it: no path, and no port that goes without saying."""
    parts = urlsplit(url.lower())
    netloc = parts.netloc
    for scheme, port in (("https", ":443"), ("http", ":80")):
        if parts.scheme == scheme:
            netloc = netloc.removesuffix(port)
    return f"{parts.scheme}://{netloc}"
