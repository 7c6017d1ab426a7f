"""The driver's own connection: batches, their values and rows, and every way they end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from psycopg.errors import QueryCanceled, UndefinedTable, UniqueViolation

from shared.db.engine import is_away
from shared.db.line import ConnectionLostError, Line, Statement
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

TABLE = Statement("CREATE TABLE kept (id int PRIMARY KEY, said text)")
KEEP = Statement("INSERT INTO kept VALUES (:id, :said)")
COUNT = Statement("SELECT count(*) FROM kept", lambda columns: int(columns[0]))
LOCK = Statement("SELECT id FROM kept WHERE id = :id FOR UPDATE")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"


class Pair(NamedTuple):
    left: int
    right: str | None


@pytest_asyncio.fixture
async def line(database_url: str) -> AsyncIterator[Line]:
    made = await another(database_url)
    await made.run(TABLE())
    yield made
    made.close()


async def another(database_url: str) -> Line:
    return Line(await psycopg.AsyncConnection.connect(database_url, autocommit=True))


async def asked(line: Line, sql: str, **values: Any) -> Any:
    command = Statement(sql)(**values)
    await line.run(command)
    return command.rows


# -------------------------------------------------------------------------------- statements
async def test_names_become_numbers_and_everything_else_stays() -> None:
    statement = Statement("""SELECT :b, :a::text, ':', '{"c": 1}', CAST(:b AS int), x::int""")
    sql = b"""SELECT $1, $2::text, ':', '{"c": 1}', CAST($1 AS int), x::int"""
    assert statement.sql == sql
    assert statement(a=1, b=2).values == [2, 1]


@pytest.mark.parametrize("values", [{}, {"a": 1, "b": 2}, {"b": 1}])
async def test_all_names_need_a_value_and_no_others(values: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="names differ"):
        Statement("SELECT :a")(**values)


async def test_rows_are_what_the_statement_says(line: Line) -> None:
    pairs = Statement("VALUES (1, 'one'), (2, NULL)", Pair._make)()
    with pytest.raises(RuntimeError, match="has not been run"):
        _ = pairs.rows
    await line.run(pairs)
    assert pairs.rows == [Pair(1, "one"), Pair(2, None)]
    with pytest.raises(RuntimeError, match="2 rows"):
        _ = pairs.row


AT = datetime(2026, 11, 21, 12, 0, 0, 123456, UTC)
#: A type, and a value that must come back as it went.
VALUES: list[tuple[str, Any]] = [
    ("bigint", 2**62),
    ("text", "ü\n'\"\\"),
    ("text", ""),
    ("text", None),
    ("bytea", bytes(range(256))),
    ("uuid", UUID(int=7)),
    ("boolean", True),
    ("timestamptz", AT),
    ("text[]", ["", "NULL", 'a "b"', "back\\slash", "{x,y}", " ü\n", None]),
    ("text[]", []),
    ("bigint[]", [1, -(2**62)]),
    ("bytea[]", [b"", bytes(range(256))]),
    ("uuid[]", [UUID(int=7)]),
    ("timestamptz[]", [AT, None]),
]


@pytest.mark.parametrize(("kind", "value"), VALUES)
async def test_a_value_comes_back_as_it_went(line: Line, kind: str, value: Any) -> None:
    assert await asked(line, f"SELECT CAST(:value AS {kind})", value=value) == [(value,)]


@pytest.mark.parametrize("value", ["a\0b", ["a\0b"]])
async def test_what_sql_cannot_hold_is_refused_before_anything_is_sent(
    line: Line, value: Any
) -> None:
    kind = "text[]" if isinstance(value, list) else "text"
    with pytest.raises(psycopg.DataError):
        await line.run(KEEP(id=1, said="x"), Statement(f"SELECT CAST(:v AS {kind})")(v=value))
    assert await asked(line, "SELECT count(*) FROM kept") == [(0,)]


async def test_an_array_of_something_unknown_is_refused(line: Line) -> None:
    with pytest.raises(TypeError, match="array of dict"):
        await asked(line, "SELECT CAST(:v AS text[])", v=[{}])
    assert line.idle


# -------------------------------------------------------------------------------- batches
async def test_a_batch_counts_as_a_whole(line: Line) -> None:
    later = COUNT()
    with pytest.raises(UniqueViolation):
        await line.run(KEEP(id=1, said="a"), KEEP(id=1, said="b"), later)
    with pytest.raises(RuntimeError, match="has not been run"):
        _ = later.rows
    assert line.idle
    count = COUNT()  # its first try was passed over, and so was its preparation
    await line.run(count)
    assert count.row == 0


async def test_a_statement_that_postgres_does_not_take_is_tried_anew(line: Line) -> None:
    absent = Statement("SELECT * FROM absent")
    for _ in range(2):
        with pytest.raises(UndefinedTable):
            await line.run(absent())
    await line.run(Statement("CREATE TABLE absent ()")())
    await line.run(absent())


async def test_a_statement_sees_what_was_committed_while_the_one_before_it_waited(
    line: Line, database_url: str
) -> None:
    """What accepting and finishing rest on: a lock, and what is read under it, in one batch."""
    await line.run(KEEP(id=1, said="a"))
    other = await psycopg.AsyncConnection.connect(database_url)
    async with other:
        await other.execute("UPDATE kept SET said = 'b'")
        await other.execute("INSERT INTO kept VALUES (2, 'c')")
        count = COUNT()
        waiting = asyncio.create_task(line.run(LOCK(id=1), count))
        await locked_out(database_url)
        await other.commit()
        await waiting
    assert count.row == 2


async def test_large_values_travel_both_ways(line: Line) -> None:
    large = "x" * 20_000_000
    ((found,),) = await asked(line, "SELECT CAST(:large AS text)", large=large)
    assert found == large


# -------------------------------------------------------------------------------- ends
async def test_who_stops_waiting_closes_the_line(line: Line, database_url: str) -> None:
    await line.run(KEEP(id=1, said="a"))
    other = await psycopg.AsyncConnection.connect(database_url)
    async with other:
        await other.execute("SELECT FROM kept FOR UPDATE")
        waiting = asyncio.create_task(line.run(LOCK(id=1)))
        await locked_out(database_url)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert line.closed
    assert not line.idle
    with pytest.raises(ConnectionLostError):
        await line.run(COUNT())


async def test_an_idle_line_notices_that_postgres_has_ended_it(
    line: Line, database_url: str
) -> None:
    await end(line, database_url)

    async def closed() -> bool:
        return line.closed

    await until(closed)


async def test_a_busy_line_that_is_ended_says_that_postgres_is_away(
    line: Line, database_url: str
) -> None:
    await line.run(KEEP(id=1, said="a"))
    other = await psycopg.AsyncConnection.connect(database_url)
    async with other:
        await other.execute("SELECT FROM kept FOR UPDATE")
        waiting = asyncio.create_task(line.run(LOCK(id=1)))
        await locked_out(database_url)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database() "
            "AND usename = current_user"
        )
        with pytest.raises(ConnectionLostError) as lost:
            await waiting
    assert is_away(lost.value)
    assert line.closed


async def test_a_line_that_is_cut_lets_its_user_go(line: Line, database_url: str) -> None:
    await line.run(KEEP(id=1, said="a"))
    other = await psycopg.AsyncConnection.connect(database_url)
    async with other:
        await other.execute("SELECT FROM kept FOR UPDATE")
        waiting = asyncio.create_task(line.run(LOCK(id=1)))
        await locked_out(database_url)
        line.close("too late")
        with pytest.raises(ConnectionLostError, match="too late"):
            await waiting


async def test_a_statement_that_takes_too_long_leaves_the_line_in_order(line: Line) -> None:
    await asked(line, "SELECT set_config('statement_timeout', '10', false)")
    with pytest.raises(QueryCanceled) as late:
        await asked(line, "SELECT pg_sleep(10)")
    assert is_away(late.value)
    assert line.idle


async def test_a_line_inside_a_transaction_is_not_idle(line: Line) -> None:
    await line.run(Statement("BEGIN")())
    assert not line.idle
    await line.run(Statement("ROLLBACK")())
    assert line.idle


async def locked_out(database_url: str) -> None:
    """Wait until somebody waits for a lock."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    looking = await psycopg.AsyncConnection.connect(database_url, autocommit=True)

    async def waits() -> bool:
        found = await (await looking.execute(WAITING, (name,))).fetchone()
        return bool(found and found[0])

    async with looking:
        await until(waits)


async def end(line: Line, database_url: str) -> None:
    """Have Postgres end a line, as a restart does."""
    ((pid,),) = await asked(line, "SELECT pg_backend_pid()")
    other = await psycopg.AsyncConnection.connect(database_url, autocommit=True)
    async with other:
        await other.execute("SELECT pg_terminate_backend(%s)", (pid,))
