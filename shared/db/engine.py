"""One pool of connections per process, for everything that is not asked all the time."""

import asyncio
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.errors import Store

#: A request must answer within 3 s even when Postgres is away; connecting gets most of it.
CONNECT_TIMEOUT_S = 2
STATEMENT_TIMEOUT_MS = 10_000
#: No connection is used for longer.
RECYCLE_S = 300
CONNECT_ARGS: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC",
    "application_name": "baton",
}

_USED = "baton used"

#: What "Postgres is away" looks like, as opposed to a mistake of ours.
AWAY = (OperationalError, PoolTimeoutError, psycopg.OperationalError, OSError)


def driver_url(url: str) -> str:
    """`postgresql://…`, as everybody writes it, for psycopg 3."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def make_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An engine whose waits are bounded: connect 2 s, pool 2 s, statement 10 s."""
    made = create_async_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_recycle=RECYCLE_S,
        connect_args=CONNECT_ARGS | {"async_creator_fn": _connected},
    )
    event.listen(made.sync_engine, "checkout", _refuse_ended)
    return made


async def _connected(*arguments: Any, **named: Any) -> psycopg.AsyncConnection[Any]:
    """Connect, and let go of the socket at once where that is cancelled or takes too long.

    The error's traceback holds the frames that hold the socket, and SQLAlchemy the traceback, in a
    circle. Until some collection of garbage, Postgres would wait for the rest of the greeting, for
    60 s at most, and with it whoever drops a database.
    """
    try:
        return await psycopg.AsyncConnection.connect(*arguments, **named)
    except (asyncio.CancelledError, psycopg.Error) as error:
        raise error.with_traceback(None) from None


def _refuse_ended(_driver: Any, record: Any, _proxy: Any) -> None:
    """Have a connection replaced that Postgres has closed while it was in the pool.

    Nothing is due on it, so what can be read is its end (or a notice, and then it is replaced for
    nothing); one system call, where a ping would be a round trip.

    One that was made just now is taken as it is: for a second one that has ended the pool would
    raise what is no sign of an absent Postgres, and whoever uses it learns the truth.
    """
    if not record.info.get(_USED):
        record.info[_USED] = True  # the pool forgets it with the connection
        return
    socket = select.poll()
    socket.register(record.driver_connection.pgconn.socket, select.POLLIN)
    if socket.poll(0):
        raise DisconnectionError("closed by Postgres")


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
    if is_beyond_limits(error):
        return False
    if isinstance(error, AWAY):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_beyond_limits(error: BaseException) -> bool:
    """Whether `error` says that Postgres will never take this: an index entry too long, for one.

    To the driver that is an operational error too, like a lost connection.
    """
    driver = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(driver, psycopg.errors.ProgramLimitExceeded)


POSTGRES = Store("Postgres", (SQLAlchemyError, psycopg.Error), is_away)
