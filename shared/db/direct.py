"""Statements that every run makes, on connections of the driver's own.

SQLAlchemy stands between everybody else and Postgres; decision 14 says what goes past it, and why.
Waits are bounded as the engine's are: connect 2 s, a free connection 2 s, a statement 10 s.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection

from shared.db.engine import CONNECT_ARGS, CONNECT_TIMEOUT_S, RECYCLE_S, driver_url
from shared.db.line import Command, Line, Statement

R = TypeVar("R")

_BEGIN = Statement("BEGIN")
_COMMIT = Statement("COMMIT")
_ROLLBACK = Statement("ROLLBACK")


class NoneFreeError(psycopg.OperationalError):
    """All connections were in use for too long."""


class Transaction:
    """Statements that all count, or none; those with answers to wait for take others along."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._queued: list[Command[Any]] = []
        self._begun = self._over = False

    def add(self, command: Command[R]) -> Command[R]:
        """Send it with the next that is waited for, or with the commit; its rows are there then."""
        self._queued.append(command)
        return command

    async def all(self, command: Command[R]) -> list[R]:
        """Run it, with all that was added before; its rows."""
        self.add(command)
        await self.run()
        return command.rows

    async def one(self, command: Command[R]) -> R | None:
        """Run it, with all that was added before; its only row, or none."""
        self.add(command)
        await self.run()
        return command.row

    async def run(self) -> None:
        """Send what was added and wait for the answers."""
        begin = [] if self._begun else [_BEGIN()]
        self._begun = True
        await self._send(*begin, *self._queued)

    async def commit(self) -> None:
        """End it, with all that was added before; nothing can follow.

        One batch is a transaction by itself, and needs no BEGIN.
        """
        if self._over:
            return
        self._over = True
        if self._begun:
            await self._send(*self._queued, _COMMIT())
        elif self._queued:
            await self._send(*self._queued)

    async def roll_back(self) -> None:
        """Undo it; a line that is lost has done so by itself."""
        if self._begun and not self._line.idle:
            with suppress(psycopg.OperationalError):
                await self._line.run(_ROLLBACK())

    async def _send(self, *commands: Command[Any]) -> None:
        self._queued = []
        await self._line.run(*commands)


@asynccontextmanager
async def transaction(line: Line) -> AsyncIterator[Transaction]:
    """A transaction for the block, committed at its end, undone where it raises."""
    made = Transaction(line)
    try:
        yield made
        await made.commit()
    except Exception:
        await made.roll_back()
        raise


class Direct:
    """A process's own connections, `size` of them at most; opened when they are needed."""

    def __init__(self, url: str, *, size: int) -> None:
        self._url = driver_url(url).replace("+psycopg", "", 1)
        self._places = asyncio.Semaphore(size)
        self._idle: list[Line] = []

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """A connection for the block.

        Raises:
            psycopg.OperationalError: none is free, or Postgres cannot be reached.
        """
        if self._places.locked():
            await self._place()
        else:
            await self._places.acquire()
        try:
            line = self._unused() or await self._opened()
            try:
                yield line
            finally:
                self._give_back(line)
        finally:
            self._places.release()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction for the block, on a connection of its own."""
        async with self.line() as line, transaction(line) as made:
            yield made

    def close(self) -> None:
        """Close what nobody uses."""
        while self._idle:
            self._idle.pop().close()

    async def _place(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._places.acquire()
        except TimeoutError:
            raise NoneFreeError("no connection became free in time") from None

    def _unused(self) -> Line | None:
        """The one used last, unless it has ended meanwhile."""
        while self._idle:
            if (line := self._idle.pop()).idle:
                return line
        return None

    async def _opened(self) -> Line:
        made = await AsyncConnection.connect(self._url, autocommit=True, **CONNECT_ARGS)
        return Line(made)

    def _give_back(self, line: Line) -> None:
        if line.idle and time.monotonic() - line.opened_at < RECYCLE_S:
            self._idle.append(line)
        else:
            line.close()


@asynccontextmanager
async def direct(url: str, *, size: int) -> AsyncIterator[Direct]:
    """A process's own connections for the block."""
    made = Direct(url, size=size)
    try:
        yield made
    finally:
        made.close()
