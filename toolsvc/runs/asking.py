"""What the routes of the record have in common: who asks, for which run, with what message.

What is wrong with a request is said in one sentence, whether a check here or SQL finds it.
"""

import hmac
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from shared.db.engine import is_beyond_limits
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import RUNNER_PROOF
from shared.wording import first_problem
from toolsvc.runs import lease
from toolsvc.services import Services

M = TypeVar("M", bound=BaseModel)


@asynccontextmanager
async def transaction(services: Services) -> AsyncIterator[AsyncConnection]:
    """A transaction for what is not asked all the time."""
    with mistakes():
        async with services.engine.begin() as db:
            yield db


@contextmanager
def mistakes() -> Iterator[None]:
    """What SQL cannot hold, or has no place for, is the caller's mistake."""
    try:
        yield
    except (IntegrityError, psycopg.IntegrityError):
        raise BatonError(Code.CONFLICT, "Something else stands where this belongs.") from None
    except (DBAPIError, psycopg.Error) as error:
        driver = error.orig if isinstance(error, DBAPIError) else error
        if not (isinstance(driver, psycopg.DataError) or is_beyond_limits(error)):
            raise
        why = str(driver).partition("\n")[0]
        raise BatonError(Code.BAD_INPUT, f"A value cannot be stored: {why}.") from None


def for_runner(request: Request) -> Services:
    """The services, for a request that shows the runners' key."""
    services: Services = request.app.state.services
    require(request, services.settings.runner_key.get_secret_value())
    return services


def holder_of(request: Request) -> lease.Holder:
    """The runner that asks, and the secret by which it alone is known."""
    return lease.Holder(request.path_params["runner"], secret_of(request))


def secret_of(request: Request) -> bytes | None:
    """The digest of the secret that a process shows as its own."""
    secret = request.headers.get(RUNNER_PROOF, "")
    return sha256(secret.encode()).digest() if secret else None


def require(request: Request, key: str) -> None:
    """Let nobody pass who does not show a key."""
    if not hmac.compare_digest(bearer_of(request).encode(), key.encode()):
        raise BatonError(Code.NOT_SIGNED_IN, "The service key is missing or wrong.")


def bearer_of(request: Request) -> str:
    """The key or token that is shown."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given if scheme.lower() == "bearer" else ""


def run_of(request: Request) -> UUID:
    """The run that the path names."""
    try:
        return UUID(request.path_params["run"])
    except ValueError:
        raise BatonError(Code.NOT_FOUND) from None


async def body_of(request: Request, shape: type[M]) -> M:
    """The request's message."""
    return parsed(await request.body(), shape)


def parsed(raw: bytes, shape: type[M]) -> M:
    """A message; one sentence says what is wrong with it."""
    try:
        return shape.model_validate_json(raw)
    except ValidationError as error:
        raise BatonError(Code.BAD_INPUT, first_problem(error)) from None


def answer_with(answer: BaseModel, *, status: int = 200) -> Response:
    """The answer to a request."""
    body: Any = answer.model_dump_json()
    return Response(body, status, media_type="application/json")
