"""URLs of a Redis that Sentinels watch over.

`redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/db][?option=value…]`

The hosts are the Sentinels', user and password are for the servers; `rediss+sentinel` is TLS to
both. The options `sentinel_username` and `sentinel_password` are for the Sentinels themselves.
No I/O here, and no redis: settings are checked with this.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

SCHEMES = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
PORT = 26379

_PATH = re.compile(r"/([\w.-]+)(?:/(\d{1,5}))?/?", re.ASCII)
_OF_SENTINELS = {"sentinel_username": "username", "sentinel_password": "password"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelUrl:
    """What such a URL says."""

    sentinels: tuple[tuple[str, int], ...]  #: host and port of each
    service: str  #: what the Sentinels call the master
    credentials: dict[str, str]  #: `username` and `password` for the Sentinels themselves
    tls: bool
    server: str  #: as a URL of its own: everything but the place of the server, which changes


def names_sentinels(url: str) -> bool:
    """Whether it is a URL of this kind, right or wrong."""
    return url.partition("://")[0].lower() in SCHEMES


def parse_sentinel_url(url: str) -> SentinelUrl | None:
    """Take it apart; `None` for a URL of another kind.

    Raises:
        ValueError: it is of this kind, and wrong; the text never repeats it.
    """
    if not names_sentinels(url):
        return None
    scheme, _, rest = url.partition("://")
    plain = SCHEMES[scheme.lower()]
    try:
        parts = urlsplit(f"//{rest}")
        user, at, hosts = parts.netloc.rpartition("@")
        sentinels = tuple(_host(host) for host in hosts.split(","))
    except ValueError:
        raise _wrong() from None
    path = _PATH.fullmatch(unquote(parts.path))
    if not path:
        raise _wrong()
    options = parse_qsl(parts.query)
    query = urlencode([(name, value) for name, value in options if name not in _OF_SENTINELS])
    return SentinelUrl(
        sentinels=sentinels,
        service=path[1],
        credentials={
            _OF_SENTINELS[name]: value for name, value in options if name in _OF_SENTINELS
        },
        tls=plain == "rediss",
        server=f"{plain}://{user}{at}localhost/{path[2] or 0}" + (f"?{query}" if query else ""),
    )


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text.strip()}")
    if not parts.hostname or parts.port == 0:
        raise ValueError("a host is missing")
    return parts.hostname, parts.port or PORT


def _wrong() -> ValueError:
    return ValueError("this must look like redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/0")
