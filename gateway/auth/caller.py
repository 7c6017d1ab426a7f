"""The caller: who asks, and by what right."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from secrets import token_urlsafe
from uuid import UUID

from shared.settings.access import KEY_PREFIX


class How(StrEnum):
    """By what somebody is known."""

    SIGN_IN = "sign_in"  #: a browser's cookie
    KEY = "key"  #: a key that begins with `bt_`
    OPERATOR = "operator"  #: the operator key of the machine itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody known. `credential` is the SHA-256 of what they showed."""

    user_id: UUID
    email: str
    admin: bool
    how: How
    expires_at: datetime | None
    credential: bytes
    #: Of a key: what its owner calls it, and how it begins.
    key_name: str = ""
    key_shown: str = ""
    #: Of a key: whether who leaves an answer of `/v1` before its end stops the run.
    cancel_on_disconnect: bool = False


#: Bytes of chance in every secret we make: 256 bits.
SECRET_BYTES = 32
#: The operator's own account; it exists from its first use on.
OPERATOR_EMAIL = "operator@localhost"


def new_secret() -> str:
    """A secret nobody can guess, in characters that a URL and a cookie can hold."""
    return token_urlsafe(SECRET_BYTES)


def new_key() -> str:
    """A key for programs."""
    return KEY_PREFIX + new_secret()


def hash_of(secret: str) -> bytes:
    """What is kept of a secret. It has 256 bits of chance, so a fast hash is enough."""
    return sha256(secret.encode()).digest()
