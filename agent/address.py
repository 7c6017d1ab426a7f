"""Where a gateway answers, in the one form under which keys are kept."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from agent.errors import UsageError

_SOCKETS = {"http": "ws", "https": "wss"}


@dataclass(frozen=True, slots=True)
class Address:
    """A gateway's base URL, without a slash at its end."""

    url: str

    @property
    def socket_url(self) -> str:
        """Where its socket is."""
        scheme, _, rest = self.url.partition("://")
        return f"{_SOCKETS[scheme]}://{rest}/realtime"

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine: no proxy on the way, and the operator key may be shown."""
        host = urlsplit(self.url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def has_path(self) -> bool:
        """Whether it lies below a host's root, as behind a proxy, or by mistake."""
        return bool(urlsplit(self.url).path)

    def __str__(self) -> str:
        return self.url


def parse_address(text: str) -> Address:
    """Read what --url or BATON_URL says.

    Raises:
        UsageError: it is not the URL of a gateway.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise UsageError("The gateway's URL cannot be read.", _EXAMPLE) from None
    if parts.username or parts.password:  # never repeated, for it may hold a secret
        raise UsageError(
            "The gateway's URL must hold no user and password.", "Keys go into BATON_API_KEY."
        )
    if parts.scheme.lower() not in _SOCKETS or not parts.hostname:
        raise UsageError(f"{text.strip()[:200]!r} is not the URL of a gateway.", _EXAMPLE)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    at = host if port is None else f"{host}:{port}"
    return Address(f"{parts.scheme.lower()}://{at}{parts.path.rstrip('/')}")


_EXAMPLE = "It looks like http://127.0.0.1:8000; --url or BATON_URL names it."
