"""One pool of connections per process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.errors import Store

#: A request must answer within 3 s even when Postgres is away; connecting gets most of it.
CONNECT_TIMEOUT_S = 2
STATEMENT_TIMEOUT_MS = 10_000

#: What "Postgres is away" looks like, as opposed to a mistake of ours.
AWAY = (OperationalError, PoolTimeoutError, OSError)


def driver_url(url: str) -> str:
    """`postgresql://…`, as everybody writes it, for psycopg 3."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def make_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An engine whose waits are bounded: connect 2 s, pool 2 s, statement 10 s."""
    return create_async_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_recycle=300,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC",
            "application_name": "baton",
        },
    )


@asynccontextmanager
async def engine(url: str, *, pool_size: int = 10) -> AsyncIterator[AsyncEngine]:
    """An engine for the block, disposed of afterwards."""
    made = make_engine(url, pool_size=pool_size)
    try:
        yield made
    finally:
        await made.dispose()


def is_away(error: BaseException) -> bool:
    """Whether `error` says that Postgres cannot be reached, so that a retry may help."""
    if isinstance(error, AWAY):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


POSTGRES = Store("Postgres", (SQLAlchemyError,), is_away)
