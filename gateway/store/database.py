"""Connections whose use is bounded: a request must answer within 3 s, also when Postgres is frozen.

Where Postgres does answer and there is just too much to do, a request waits for its turn.

A frozen server is not a broken one: the kernel keeps its sockets alive, and psycopg waits for an
answer even after it was cancelled. So the socket of an overdue connection is shut down, which ends
the wait like any other lost connection. SQLAlchemy's connections and our own have the same turns.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.store.turns import Own, Turns, Who
from shared.db.direct import Direct, Transaction, transaction
from shared.db.line import Line
from shared.errors import BatonError, StoreAwayError
from shared.protocol.codes import Code
from shared.telemetry.logs import get_logger

log = get_logger(__name__)
C = TypeVar("C", AsyncConnection, Line)

#: From asking for a connection to the end of its use; leaves half a second for the rest.
BUDGET_S = 2.5
#: Postgres answers as long as it has finished some work within this time.
ANSWERING_S = 1.0
#: While it does, a request waits this long for its turn before it is told to come again.
PATIENCE_S = 10.0
#: What is left for the work itself after a long wait.
LEAST_S = 1.0
#: Connections of one gateway, of one person, and those that people leave to the gateway itself.
CONNECTIONS, SHARE, OWN = 10, 3, 2

_ONE_MOMENT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


class Database:
    """Postgres as the routes see it; `budget_s` is there for tests."""

    def __init__(self, engine: AsyncEngine, direct: Direct, *, budget_s: float = BUDGET_S) -> None:
        self.engine, self.direct = engine, direct
        self.budget_s = budget_s
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._turns = Turns(CONNECTIONS, share=SHARE, own=OWN)
        self._answered_at = -ANSWERING_S

    @asynccontextmanager
    async def reading(self, who: Who) -> AsyncIterator[AsyncConnection]:
        """A connection on which every statement stands alone: no BEGIN, no ROLLBACK to wait for.

        `who` has the work done: a person, or the gateway itself.

        Raises:
            BatonError: UNAVAILABLE; RATE_LIMITED where there is too much to do.
        """
        async with self._connected(self._autocommit.connect(), who) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self, who: Who) -> AsyncIterator[AsyncConnection]:
        """A connection inside one transaction, committed at the end of the block.

        Raises:
            BatonError: as `reading`.
        """
        async with self._connected(self.engine.connect(), who) as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def seeing(self, who: Who) -> AsyncIterator[AsyncConnection]:
        """A connection for reads that have to fit each other: all see the same moment.

        Raises:
            BatonError: as `reading`.
        """
        async with self.writing(who) as connection:
            await connection.execute(_ONE_MOMENT)
            yield connection

    @asynccontextmanager
    async def locking(self, who: Who) -> AsyncIterator[Transaction]:
        """The same for what takes the lock of a thread's row, on a connection of our own.

        Raises:
            BatonError: as `reading`.
        """
        async with self._connected(self.direct.line(), who) as line, transaction(line) as made:
            yield made

    async def check(self) -> None:
        """Raise if Postgres cannot answer."""
        async with self.reading(Own.UPKEEP) as connection:
            await connection.execute(text("SELECT 1"))

    @asynccontextmanager
    async def _connected(
        self, opening: AbstractAsyncContextManager[C], who: Who
    ) -> AsyncIterator[C]:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        async with self._turn(who), AsyncExitStack() as use:
            overdue = asked + self.budget_s
            if self._answering():
                overdue = max(overdue, loop.time() + LEAST_S)
            try:
                async with asyncio.timeout_at(overdue):
                    connection = await use.enter_async_context(opening)
            except TimeoutError:
                raise StoreAwayError("Postgres") from None
            cutting = loop.call_at(overdue, _cut, connection)
            try:
                yield connection
            finally:
                cutting.cancel()
                if not _lost(connection):
                    self._answered_at = loop.time()

    @asynccontextmanager
    async def _turn(self, who: Who) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        turn = self._turns.ask(who)
        try:
            asked = loop.time()
            patience = self.budget_s
            while not turn.done():
                await asyncio.wait({turn}, timeout=patience)
                if not turn.done():
                    self._check_patience(loop.time() - asked)
                patience = ANSWERING_S
            yield
        finally:
            self._turns.give_back(who, turn)

    def _answering(self) -> bool:
        return asyncio.get_running_loop().time() - self._answered_at < ANSWERING_S

    def _check_patience(self, waited_s: float) -> None:
        """Raise if waiting for a turn makes no sense any more."""
        if not self._answering():
            raise StoreAwayError("Postgres")
        if waited_s > PATIENCE_S:
            raise BatonError(Code.RATE_LIMITED)


def _lost(connection: AsyncConnection | Line) -> bool:
    return connection.closed if isinstance(connection, Line) else connection.invalidated


def _cut(connection: AsyncConnection | Line) -> None:
    """End the connection; whoever waits for Postgres meets a lost connection."""
    if isinstance(connection, Line):
        log.warning("postgres did not answer in time")
        connection.close("postgres did not answer in time")
        return
    raw = connection.sync_connection
    driver = raw and not raw.closed and not raw.invalidated and raw.connection.driver_connection
    if not driver or driver.closed:
        return
    log.warning("postgres did not answer in time")
    with socket.socket(fileno=os.dup(driver.pgconn.socket)) as handle:
        handle.shutdown(socket.SHUT_RDWR)
