"""One connection of the driver's own, in libpq's pipeline mode: a batch goes out at once.

A batch is statements and one Sync. Postgres answers them in order; should one fail, it passes over
the rest and undoes what the batch did, unless an earlier batch has sent BEGIN. Each statement sees
what was committed when it begins, also when it was sent together with the one before it.

Below `psycopg`'s cursors, because they cost three times as much: an execution there prepares
itself, waits with a reader and a timer of its own, and asks for one answer at a time.
"""

import asyncio
import itertools
import os
import re
import select
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar, overload
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

R = TypeVar("R")

_NAMED = re.compile(r"(?<![:\w]):([a-z_]\w*)")
#: Severities after which Postgres ends the connection.
_LAST_WORDS = ("FATAL", "PANIC")

#: An answer that has not come by then is looked for.
LOOK_S = 0.25

_numbers = itertools.count(1)


class ConnectionLostError(psycopg.OperationalError):
    """The connection ended; what was sent last may have been done or not."""


class Statement(Generic[R]):
    """SQL with `:names`, which each connection prepares once; Postgres infers the types.

    `row` makes a row of its columns, as `SomeNamedTuple._make` does.
    """

    @overload
    def __init__(self: "Statement[tuple[Any, ...]]", sql: str) -> None: ...

    @overload
    def __init__(self, sql: str, row: Callable[[Sequence[Any]], R]) -> None: ...

    def __init__(self, sql: str, row: Callable[[Sequence[Any]], Any] = tuple) -> None:
        self.names: list[str] = list(dict.fromkeys(_NAMED.findall(sql)))
        self.sql = _NAMED.sub(lambda found: f"${self.names.index(found[1]) + 1}", sql).encode()
        self.row = row
        self.id = b"s%d" % next(_numbers)

    def __call__(self, **values: Any) -> "Command[R]":
        """The statement with values; all of its names, and no others.

        Raises:
            TypeError: a name is missing or unknown.
        """
        if values.keys() != set(self.names):
            raise TypeError(f"names differ: {sorted(values.keys() ^ set(self.names))}")
        return Command(self, [values[name] for name in self.names])


class Command(Generic[R]):
    """A statement with values; once its batch is over, its rows."""

    __slots__ = ("_rows", "statement", "values")

    def __init__(self, statement: Statement[R], values: list[Any]) -> None:
        self.statement, self.values = statement, values
        self._rows: list[R] | None = None

    @property
    def rows(self) -> list[R]:
        """What came back."""
        if self._rows is None:
            raise RuntimeError("this statement has not been run")
        return self._rows

    @property
    def row(self) -> R | None:
        """The only row, or none."""
        if len(self.rows) > 1:
            raise RuntimeError(f"{len(self.rows)} rows came where one was expected")
        return self.rows[0] if self.rows else None

    def landed(self, rows: list[R]) -> None:
        """Take the answer."""
        self._rows = rows


class Line:
    """A connection for one user at a time; a reader of its own notices its end at once, also idle.

    Whoever stops waiting for an answer closes the line: nobody could tell what comes next on it.
    """

    def __init__(self, connection: "AsyncConnection[Any]") -> None:
        self.opened_at = time.monotonic()
        self.closed = False
        self._connection, self._pg = connection, connection.pgconn
        self._transformer = Transformer(connection)
        self._prepared: set[bytes] = set()
        self._results: list[PGresult] = []
        self._landing: asyncio.Future[list[PGresult]] | None = None
        self._loop = asyncio.get_running_loop()
        # libpq closes its descriptor by itself where it finds the connection broken, and the number
        # then belongs to somebody else. This one stays ours.
        self._socket = os.dup(self._pg.socket)
        self._news = select.poll()
        self._news.register(self._socket, select.POLLIN)
        self._pg.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._readable)

    @property
    def idle(self) -> bool:
        """Whether the next user finds it as new: open, with no transaction and no answer due."""
        if self.closed or self._landing:
            return False
        if self._news.poll(0):  # nothing is due, so this is Postgres' good-bye
            self.close()
            return False
        return self._pg.transaction_status == TransactionStatus.IDLE

    async def run(self, *commands: Command[Any]) -> None:
        """Send commands as one batch, and wait for all of their rows.

        Raises:
            ConnectionLostError: it was or is closed.
            psycopg.Error: the first command that failed; later ones were not begun.
        """
        if self.closed:
            raise ConnectionLostError("the connection is closed")
        values = [self._dumped(command) for command in commands]  # what cannot be sent stops here
        landing: asyncio.Future[list[PGresult]] = self._loop.create_future()
        self._landing, self._results = landing, []
        sent = self._send(commands, values)
        looking = self._loop.call_later(LOOK_S, self._look, landing)
        try:
            results = await landing
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            looking.cancel()
        for result, (statement, command) in zip(results, sent, strict=False):
            self._check(result)
            if command is None:
                self._prepared.add(statement.id)
            else:
                command.landed(self._rows(result, statement))

    def close(self, why: str = "the connection was closed") -> None:
        """End it now; who waits for an answer gets `ConnectionLostError`."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        os.close(self._socket)
        self._connection._closed = True
        self._pg.finish()
        landing, self._landing = self._landing, None
        if landing and not landing.done():
            landing.set_exception(ConnectionLostError(why))

    def _dumped(self, command: Command[Any]) -> Any:
        """Values as text, which suits whatever type Postgres has inferred."""
        values = [_array(one) if isinstance(one, list) else one for one in command.values]
        return self._transformer.dump_sequence(values, [PyFormat.TEXT] * len(values))

    def _send(
        self, commands: Sequence[Command[Any]], values: list[Any]
    ) -> list[tuple[Statement[Any], Command[Any] | None]]:
        """Send a batch; what was sent, in order: a statement to prepare has no command."""
        sent: list[tuple[Statement[Any], Command[Any] | None]] = []
        new: set[bytes] = set()
        try:
            for command, given in zip(commands, values, strict=True):
                statement = command.statement
                if statement.id not in self._prepared and statement.id not in new:
                    new.add(statement.id)
                    self._pg.send_prepare(statement.id, statement.sql)
                    sent.append((statement, None))
                self._pg.send_query_prepared(statement.id, given)
                sent.append((statement, command))
            self._pg.pipeline_sync()
            if self._pg.flush():
                self._loop.add_writer(self._socket, self._writable)
        except psycopg.Error as error:
            self.close(str(error))
        return sent

    def _writable(self) -> None:
        try:
            if not self._pg.flush():
                self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self.close(str(error))

    def _readable(self) -> None:
        try:
            self._pg.consume_input()
            while self._landing and not self._pg.is_busy():
                self._take(self._pg.get_result())
        except psycopg.Error as error:
            self.close(str(error))

    def _look(self, landing: "asyncio.Future[list[PGresult]]") -> None:
        """Read by the clock, too: uvloop stops watching a socket that the other side has reset."""
        if self._landing is landing:
            self._readable()
        if self._landing is landing:
            self._loop.call_later(LOOK_S, self._look, landing)

    def _take(self, result: PGresult | None) -> None:
        """One more result; `None` stands between those of two statements."""
        if result is None:
            if self._pg.status == ConnStatus.BAD:
                raise ConnectionLostError("the connection broke")
        elif result.status != ExecStatus.PIPELINE_SYNC:
            self._results.append(result)
        elif self._landing:
            landing, self._landing = self._landing, None
            if not landing.done():
                landing.set_result(self._results)

    def _check(self, result: PGresult) -> None:
        if result.status not in (ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED):
            return
        error = error_from_result(result)
        if error.diag.severity_nonlocalized in _LAST_WORDS:
            self.close(str(error))
            raise ConnectionLostError(str(error))
        raise error

    def _rows(self, result: PGresult, statement: Statement[R]) -> list[R]:
        if result.status != ExecStatus.TUPLES_OK:
            return []
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, statement.row)


def _array(values: list[Any]) -> str:
    """An array as text. The driver's own takes half a microsecond for each quote in it."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case bytes():
            return f'"\\\\x{value.hex()}"'
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case int() | UUID() | datetime():
            return f'"{value}"'
        case _:
            raise TypeError(f"an array of {type(value).__name__} cannot be sent")
