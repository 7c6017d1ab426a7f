"""From a request to a caller; sockets and HTTP share all of it.

Every request asks SQL once, by the whole hash: a revoked sign-in ends with the next request, and no
cache can be keyed wrongly.
"""

import hmac
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from starlette.requests import HTTPConnection

from gateway.auth.caller import OPERATOR_EMAIL, Caller, How, hash_of
from gateway.auth.cookies import sign_in_of
from gateway.auth.origin import origin_allowed
from gateway.auth.policy import is_admin, may_stay
from gateway.services import Services
from gateway.store import people
from gateway.store.database import Database
from gateway.store.turns import Own
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.frames import BEARER_PREFIX
from shared.settings.access import KEY_PREFIX

#: `used_at` of a key is for people, so it need not be exact.
USE_NOTED_EVERY = timedelta(minutes=1)
#: No key and no sign-in id is anywhere near as long.
MAX_SECRET_CHARS = 512
_NO_SUCH_KEY = "This key is not valid: it is not known here, was revoked, or has expired."


async def authenticate(services: Services, connection: HTTPConnection) -> Caller:
    """Who asks: by `Authorization: Bearer …`, else by cookie.

    Raises:
        BatonError: NOT_SIGNED_IN; a bad bearer is refused even where a good cookie comes along.
    """
    if "authorization" in connection.headers:
        scheme, _, secret = connection.headers["authorization"].partition(" ")
        return await _by_bearer(services, secret.strip() if scheme.lower() == "bearer" else "")
    return await _by_cookie(services, connection)


async def authenticate_socket(services: Services, connection: HTTPConnection) -> Caller:
    """Who opens a socket: by `Authorization`, by sub-protocol `bearer.<key>`, or by cookie.

    Browsers always name the page's origin, and only pages on the list may use the cookie; whoever
    names none must show a key.

    Raises:
        BatonError: FORBIDDEN (close 4403) or NOT_SIGNED_IN (close 4401).
    """
    origin = connection.headers.get("origin")
    if origin is not None and not origin_allowed(origin, connection, services.settings):
        raise BatonError(Code.FORBIDDEN, "Pages of this origin may not open the socket.")
    offered: list[str] = connection.scope.get("subprotocols", [])
    for one in offered:
        if one.startswith(BEARER_PREFIX):
            return await _by_bearer(services, one.removeprefix(BEARER_PREFIX))
    if origin is None and "authorization" not in connection.headers:
        raise BatonError(Code.NOT_SIGNED_IN, "Without an Origin header a key is required.")
    return await authenticate(services, connection)


async def still_valid(db: Database, callers: Iterable[Caller]) -> frozenset[bytes]:
    """The credentials of `callers` that still count, by one query for all of them.

    The operator's stays for as long as the process has the same operator key.
    """
    asked = {caller.credential for caller in callers if caller.how is not How.OPERATOR}
    operators = {caller.credential for caller in callers if caller.how is How.OPERATOR}
    if not asked:
        return frozenset(operators)
    async with db.reading(Own.SIGN_IN) as connection:
        return await people.living(connection, list(asked)) | operators


async def _by_cookie(services: Services, connection: HTTPConnection) -> Caller:
    sign_in = sign_in_of(connection, services.settings)
    if not sign_in or len(sign_in) > MAX_SECRET_CHARS:
        raise BatonError(Code.NOT_SIGNED_IN)
    hashed = hash_of(sign_in)
    async with services.db.reading(Own.SIGN_IN) as db:
        found = await people.of_sign_in(db, hashed)
    if not found:
        raise BatonError(Code.NOT_SIGNED_IN)
    if not may_stay(found.email, services.settings, invited=found.invited):
        raise BatonError(
            Code.NOT_SIGNED_IN, "This sign-in has ended: its address may not sign in here any more."
        )
    return _caller(services, found, How.SIGN_IN, hashed)


async def _by_bearer(services: Services, secret: str) -> Caller:
    if not secret:
        raise BatonError(Code.NOT_SIGNED_IN)
    if len(secret) > MAX_SECRET_CHARS:
        raise BatonError(Code.NOT_SIGNED_IN, _NO_SUCH_KEY)
    hashed = hash_of(secret)
    if _is_operator(services, hashed):
        return await _operator(services, hashed)
    if not secret.startswith(KEY_PREFIX):
        raise BatonError(Code.NOT_SIGNED_IN, _NO_SUCH_KEY)
    async with services.db.reading(Own.SIGN_IN) as db:
        found = await people.of_key(db, hashed)
    if not found:
        raise BatonError(Code.NOT_SIGNED_IN, _NO_SUCH_KEY)
    if not found.used_at or datetime.now(UTC) - found.used_at > USE_NOTED_EVERY:
        services.background.start(_note_use(services, hashed), "note use of a key")
    return _caller(services, found, How.KEY, hashed)


def _is_operator(services: Services, hashed: bytes) -> bool:
    key = services.settings.operator_key
    return key is not None and hmac.compare_digest(hash_of(key.get_secret_value()), hashed)


async def _operator(services: Services, hashed: bytes) -> Caller:
    async with services.db.reading(Own.SIGN_IN) as db:
        person = await people.by_email(db, OPERATOR_EMAIL)
        if person is None:
            person = await people.ensure(db, OPERATOR_EMAIL)
    return Caller(
        user_id=person.id,
        email=person.email,
        admin=True,
        how=How.OPERATOR,
        expires_at=None,
        credential=hashed,
    )


def _caller(services: Services, found: people.Credential, how: How, hashed: bytes) -> Caller:
    return Caller(
        user_id=found.user_id,
        email=found.email,
        admin=is_admin(found.email, services.settings),
        how=how,
        expires_at=found.expires_at,
        credential=hashed,
        key_name=found.key_name,
        key_shown=found.key_shown,
        cancel_on_disconnect=found.cancel_on_disconnect,
    )


async def _note_use(services: Services, hashed: bytes) -> None:
    async with services.db.reading(Own.SIGN_IN) as db:
        await people.note_use(db, hashed)
