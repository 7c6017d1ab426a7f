"""Ed25519 keys as settings and the web write them: 32 bytes in base64url, and JWK (RFC 8037).

The one place that imports `cryptography`.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

KEY_BYTES, SIGNATURE_BYTES = 32, 64
#: Hex digits of a key id; ids only tell an installation's own few keys apart.
ID_DIGITS = 16

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


def to_base64url(raw: bytes) -> str:
    """Bytes as RFC 7515 writes them, without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def from_base64url(text: str, length: int) -> bytes:
    """Read so many bytes.

    Raises:
        ValueError: it is not their one spelling.
    """
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        raw = b""
    # Python's base64 skips foreign characters and spare bits, which makes many spellings of one.
    if not _BASE64URL.fullmatch(text) or len(raw) != length or to_base64url(raw) != text:
        raise ValueError(f"this must be {length} bytes in base64url, without padding")
    return raw


@dataclass(frozen=True)
class PublicKey:
    """Checks signatures."""

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> "PublicKey":
        """Read the 43 characters that `text` writes.

        Raises:
            ValueError: it is something else.
        """
        return cls(from_base64url(text, KEY_BYTES))

    @classmethod
    def of_jwk(cls, jwk: object) -> "PublicKey":
        """Read a JWK; fields that say nothing about the key itself do not matter.

        Raises:
            ValueError: it is no public Ed25519 key.
        """
        if not isinstance(jwk, Mapping) or (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519"):
            raise ValueError("this is no Ed25519 key in JWK form")
        return cls.parse(str(jwk.get("x")))

    @cached_property
    def id(self) -> str:
        """A short digest of the key: never believed, always computed."""
        return sha256(self.raw).hexdigest()[:ID_DIGITS]

    @property
    def text(self) -> str:
        """The key as settings and JWK's `x` write it."""
        return to_base64url(self.raw)

    @property
    def jwk(self) -> dict[str, Any]:
        """The key for the web."""
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": self.text,
            "kid": self.id,
            "use": "sig",
            "alg": "EdDSA",
        }

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Whether the owner of the private key has signed the message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class SigningKey:
    """Signs; made of the 32 bytes that RFC 8032 calls the private key."""

    def __init__(self, text: str) -> None:
        """Read 43 characters of base64url; ValueError for anything else."""
        self._key = Ed25519PrivateKey.from_private_bytes(from_base64url(text, KEY_BYTES))
        self.public = PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """64 bytes; the same for the same message."""
        return self._key.sign(message)
