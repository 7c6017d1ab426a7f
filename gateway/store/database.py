"""Connections whose use is bounded: a request must answer within 3 s, also when Postgres is frozen.

A frozen server is not a broken one: the kernel keeps its sockets alive, and psycopg waits for an
answer even after it was cancelled. So the socket of an overdue connection is shut down, which ends
the wait like any other lost connection.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.errors import StoreAwayError
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

#: From asking for a connection to the end of its use; leaves half a second for the rest.
BUDGET_S = 2.5


class Database:
    """Postgres as the routes see it; `budget_s` is there for tests."""

    def __init__(self, engine: AsyncEngine, *, budget_s: float = BUDGET_S) -> None:
        self.engine = engine
        self.budget_s = budget_s
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which every statement stands alone: no BEGIN, no ROLLBACK to wait for."""
        async with self._connected(self._autocommit) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection inside one transaction, committed at the end of the block."""
        async with self._connected(self.engine) as connection, connection.begin():
            yield connection

    async def check(self) -> None:
        """Raise if Postgres cannot answer."""
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        loop = asyncio.get_running_loop()
        overdue = loop.time() + self.budget_s
        try:
            async with asyncio.timeout_at(overdue):
                connection = await engine.connect()
        except TimeoutError:
            raise StoreAwayError("Postgres") from None
        cutting = loop.call_at(overdue, _cut, connection)
        try:
            yield connection
        finally:
            cutting.cancel()
            await connection.close()


def _cut(connection: AsyncConnection) -> None:
    """Shut the socket down; whoever waits for Postgres meets a lost connection."""
    raw = connection.sync_connection
    driver = raw and not raw.closed and not raw.invalidated and raw.connection.driver_connection
    if not driver or driver.closed:
        return
    log.warning("postgres did not answer in time")
    with socket.socket(fileno=os.dup(driver.pgconn.socket)) as handle:
        handle.shutdown(socket.SHUT_RDWR)
