"""Run tokens: what a runner shows at toolsvc, so that it has power over one run and no other.

A token is a JWT signed with HS256. It lives for minutes, is renewed with the heartbeat by showing
it, and carries the fence of its claim: the database decides whether that is still the newest one.

python-jose is loose by default: it accepts a missing audience, an unknown `crit`, an empty secret,
and a public key in DER as an HMAC secret. So this is the one place that imports it, only its
signature check is used, and everything else is checked here.
"""

import re
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Final, Literal
from uuid import UUID

from jose import jwk, jws
from jose.backends.base import Key
from jose.exceptions import JOSEError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import ID_PATTERN, new_id
from shared.protocol.record import RUN_TOKEN_LIFE_S

ISSUER: Final = "baton"
AUDIENCE: Final = "baton-run"

#: A token that expired so long ago may still be renewed: no pause of ours ends a run that goes on.
RENEWABLE_FOR_S: Final = 86_400
#: Clocks of two machines may differ by this much, either way.
LEEWAY_S: Final = 60
#: RFC 7518, section 3.2: a key for HS256 is at least as long as its hash.
MIN_KEY_BYTES: Final = 32
#: More than a hundred tool names fit; whoever sends more wants our time.
MAX_TOKEN_CHARS: Final = 16_384

_ALGORITHM: Final = "HS256"
#: `{"alg":"HS256","typ":"JWT"}`: the only header that we write, so no other one is read. This
#: settles `alg: none`, RS256, `crit`, `kid`, `jwk` and `zip` before anything is parsed.
_HEADER: Final = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
#: Python's base64 skips foreign characters, which would give one token many spellings.
_TOKEN: Final = re.compile(rf"{_HEADER}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{{43}}", re.ASCII)
#: Keys that are public by nature: whoever knows them could sign.
_ASYMMETRIC: Final = ("-----BEGIN", "ssh-", "ecdsa-")

Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
PublicId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunClaims:
    """What a run token says: whose run this is, and what it may do."""

    run: UUID
    #: The run whose journal and effects this one continues; itself, unless it is a resume.
    root: UUID
    thread: UUID
    user: UUID
    #: The claim of the thread that this token was made for.
    fence: int
    #: Names of the tools it may call; `None` means every tool whose scope it has.
    tools: tuple[str, ...] | None
    #: What its tools may touch, like `profile:read`.
    scopes: tuple[str, ...]
    project: UUID | None
    public_run: str
    public_thread: str
    agent: str
    #: Seconds since the epoch; minting sets it.
    expires: int = 0


class _Payload(BaseModel):
    """The claims as they are written; strict, so that `"7"` is not a fence and `1` not a name."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    iss: Literal["baton"]
    aud: Literal["baton-run"]
    sub: UUID
    iat: int = Field(ge=0)
    exp: int = Field(ge=0)
    jti: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    run: UUID
    root: UUID
    thread: UUID
    fence: int = Field(ge=1, lt=2**53)
    tools: tuple[Name, ...] | None
    scopes: tuple[Name, ...]
    project: UUID | None
    run_id: PublicId
    thread_id: PublicId
    agent: Name

    def as_claims(self) -> RunClaims:
        return RunClaims(
            run=self.run,
            root=self.root,
            thread=self.thread,
            user=self.sub,
            fence=self.fence,
            tools=self.tools,
            scopes=self.scopes,
            project=self.project,
            public_run=self.run_id,
            public_thread=self.thread_id,
            agent=self.agent,
            expires=self.exp,
        )


def mint_run_token(key: str, claims: RunClaims, *, life_s: int = RUN_TOKEN_LIFE_S) -> str:
    """A token that says `claims` for `life_s` seconds from now; `claims.expires` is ignored.

    Raises:
        ValueError: for a key that is too short or public by nature, and for claims that
            `verify_run_token` would refuse.
    """
    now = int(time.time())
    payload = _Payload(
        iss=ISSUER,
        aud=AUDIENCE,
        sub=claims.user,
        iat=now,
        exp=now + life_s,
        jti=new_id("tok"),
        run=claims.run,
        root=claims.root,
        thread=claims.thread,
        fence=claims.fence,
        tools=claims.tools,
        scopes=claims.scopes,
        project=claims.project,
        run_id=claims.public_run,
        thread_id=claims.public_thread,
        agent=claims.agent,
    )
    token = jws.sign(payload.model_dump_json().encode(), _hmac_key(key), algorithm=_ALGORITHM)
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError(f"the run token would be longer than {MAX_TOKEN_CHARS:,} characters")
    return token


def verify_run_token(key: str, token: str) -> RunClaims:
    """What a token says, if we signed it and it still holds.

    Raises:
        BatonError: `not_signed_in`, with a sentence that says why and never repeats the token.
        ValueError: for a key that is too short or public by nature.
    """
    return _verified(key, token, expired_for_s=0)


def renewed_run_token(
    key: str, token: str, *, run: UUID, fence: int, scopes: tuple[str, ...]
) -> str:
    """A new token that says what `token` says, for whoever shows one of this very run and fence.

    Only the scopes are those of today. Nothing is asked but the token: whether its fence still is
    the newest one, the caller knows from SQL.

    Raises:
        BatonError: `not_signed_in`, as `verify_run_token`, but a token may have expired within the
            last `RENEWABLE_FOR_S`; `forbidden` for one of another run or claim.
        ValueError: as `mint_run_token`.
    """
    claims = _verified(key, token, expired_for_s=RENEWABLE_FOR_S)
    if (claims.run, claims.fence) != (run, fence):
        raise BatonError(Code.FORBIDDEN, "The run token was made for another run or claim.")
    return mint_run_token(key, replace(claims, scopes=scopes))


def _verified(key: str, token: str, *, expired_for_s: int) -> RunClaims:
    signed = _signed_payload(_hmac_key(key), token)
    try:
        payload = _Payload.model_validate_json(signed)
    except ValidationError as error:
        raise _refused(f"its {_first_field(error)} is missing or wrong") from None
    now = time.time()
    if payload.iat > now + LEEWAY_S:
        raise _refused("it was made in the future")
    if payload.exp + LEEWAY_S + expired_for_s <= now:
        raise _refused("it has expired")
    return payload.as_claims()


def _signed_payload(key: Key, token: str) -> bytes:
    """The bytes that were signed with our key."""
    if len(token) > MAX_TOKEN_CHARS:
        raise _refused("it is too long")
    if not _TOKEN.fullmatch(token):
        raise _refused("it is not a JWT signed with HS256")
    try:
        # A list: python-jose would take a text for a set of substrings.
        return jws.verify(token, key, [_ALGORITHM])
    except JOSEError:
        raise _refused("its signature is wrong") from None


@lru_cache(maxsize=8)
def _hmac_key(key: str) -> Key:
    """The key in python-jose's form, checked once."""
    if len(key.encode()) < MIN_KEY_BYTES:
        raise ValueError(f"the key of run tokens has fewer than {MIN_KEY_BYTES} bytes")
    if key.startswith(_ASYMMETRIC) or not key.isprintable():  # DER is not printable
        raise ValueError("the key of run tokens is an asymmetric key, not a secret")
    return jwk.construct(key, _ALGORITHM)


def _first_field(error: ValidationError) -> str:
    where = error.errors(include_url=False, include_input=False, include_context=False)[0]["loc"]
    return f"claim {where[0]!r}" if where else "payload"


def _refused(why: str) -> BatonError:
    return BatonError(Code.NOT_SIGNED_IN, f"The run token is not valid: {why}.")
