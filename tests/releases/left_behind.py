"""What an installation leaves in its stores: read when a release is recorded, put back by tests."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from redis.asyncio import Redis

from shared.db.tables import METADATA
from stack.credentials import Credentials
from stack.program import ROOT

RELEASES = ROOT / "releases"
AGENTS = RELEASES / "agents"

#: Those of every recorded installation; they are known to all, and protect nothing.
SECRETS = Credentials(
    **{
        one.name: f"{one.name.replace('_', '-')}-of-a-recorded-release"
        for one in fields(Credentials)
        if one.name != "receipt_key"
    }
    | {"installation": "recorded", "receipt_key": "A" * 43}
)

Tables = dict[str, dict[str, list[str]]]
Streams = dict[str, list[list[Any]]]

_COLUMNS = (
    "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' "
    "AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position"
)


async def read(database_url: str, redis_url: str) -> tuple[Tables, Streams]:
    """All rows, and then all entries of the streams: as if Redis had taken what SQL had not."""
    return await read_tables(database_url), await _read_streams(redis_url)


async def read_tables(database_url: str) -> Tables:
    """All rows, as COPY writes them."""
    tables: Tables = {}
    async with await psycopg.AsyncConnection.connect(database_url) as db:
        await db.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        for table in METADATA.sorted_tables:
            found = await (await db.execute(_COLUMNS, [table.name])).fetchall()
            columns = [str(name) for (name,) in found]
            async with db.cursor().copy(_copy(table.name, columns, "TO STDOUT")) as copy:
                rows = b"".join([bytes(piece) async for piece in copy]).decode()
            tables[table.name] = {"columns": columns, "rows": rows.splitlines()}
    return tables


async def _read_streams(redis_url: str) -> Streams:
    redis = Redis.from_url(redis_url)
    keys = [key async for key in redis.scan_iter(_type="stream")]
    streams: Streams = {}
    for key in sorted(keys):
        entries: Any = await redis.xrange(key)
        streams[key.decode()] = [_text(entry) for entry in entries]
    await redis.aclose()
    return streams


async def put_back(folder: Path, database_url: str, redis_url: str) -> None:
    """The stores as a release has left them, in this release's schema."""
    await put_back_tables(folder, database_url)
    streams: Streams = json.loads((folder / "streams.json").read_text())
    redis = Redis.from_url(redis_url)
    for key, entries in streams.items():
        for id_, told in entries:
            await redis.xadd(key, told, id=id_)
    await redis.aclose()


async def put_back_tables(folder: Path, database_url: str) -> None:
    """The rows alone."""
    tables: Tables = json.loads((folder / "tables.json").read_text())
    async with await psycopg.AsyncConnection.connect(database_url) as db:
        for table in METADATA.sorted_tables:
            if (left := tables.get(table.name)) is None:
                continue  # it came later
            statement = _copy(table.name, left["columns"], "FROM STDIN")
            async with db.cursor().copy(statement) as copy:
                await copy.write("".join(f"{row}\n" for row in left["rows"]))
        last = "SELECT setval('messages_ordinal', max(ordinal)) FROM messages"
        await db.execute(last)


def _copy(table: str, columns: list[str], how: str) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) {}").format(sql.Identifier(table), names, sql.SQL(how))


def _text(entry: tuple[bytes, dict[bytes, bytes]]) -> list[Any]:
    id_, told = entry
    return [id_.decode(), {name.decode(): value.decode() for name, value in told.items()}]
