"""docs/data.md is the schema, and the schema is what migrations make of an empty database."""

import os
import re
import subprocess
import sys
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import NullPool, String, TypeDecorator, create_engine

from shared.bus.keys import KEYS
from shared.chain import SALT_BYTES, extend, sealed
from shared.db.engine import driver_url
from shared.db.tables import METADATA
from shared.protocol.ids import uuid7
from tests.docs.pages import ROOT, block, code, page, rows, section

PAGE = page("docs/data.md")
TABLES = re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE)
INDEXES = {code(cells[0])[0]: cells for cells in rows(section(PAGE, "## Indexes"))}


def test_every_table_is_explained() -> None:
    assert set(TABLES) == set(METADATA.tables)


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_explained(table: str) -> None:
    shown = [name for cells in rows(section(PAGE, f"### `{table}`")) for name in code(cells[0])]
    assert len(shown) == len(set(shown))
    assert set(shown) == set(METADATA.tables[table].columns.keys())


def test_every_index_is_explained_with_its_columns() -> None:
    declared = {str(one.name): one for table in METADATA.tables.values() for one in table.indexes}
    assert set(INDEXES) == set(declared)
    for name, (_, columns, _) in INDEXES.items():
        if listed := code(columns)[0].split(", "):
            known = [column.name for column in declared[name].columns]
            assert known in ([], listed)  # of an index on an expression SQLAlchemy knows none


@pytest.mark.parametrize("index", INDEXES)
def test_every_index_names_a_query_that_exists(index: str) -> None:
    file, name = code(INDEXES[index][2])
    source = (ROOT / file).read_text("utf-8")
    assert re.search(rf"^(async def |class )?{name}\b", source, re.MULTILINE)
    table = next(
        table.name
        for table in METADATA.tables.values()
        if index in {str(one.name) for one in table.indexes}
    )
    assert table.lower() in source.lower() or table.upper() in source


def test_every_redis_key_is_explained() -> None:
    table = rows(section(PAGE, "## Redis"))
    shown = [(code(key)[0], kind, life, content) for key, kind, life, content in table]
    assert shown == [(one.pattern, one.type, one.life, one.content) for one in KEYS]


@pytest.mark.stores
def test_migrations_make_what_the_models_say(database_url: str) -> None:
    engine = create_engine(driver_url(database_url), poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": _differs})
        assert compare_metadata(context, METADATA) == []


def _differs(*args: Any) -> bool | None:
    """SQLModel decorates its text type; to the database it is text like any other."""
    *_, there, here = args
    plain = here.impl_instance if isinstance(here, TypeDecorator) else here
    return False if isinstance(there, String) and isinstance(plain, String) else None


@pytest.mark.stores
def test_the_snippet_accepts_a_chain_and_finds_what_was_changed(database_url: str) -> None:
    _fill(database_url)
    assert _verify(database_url) == (0, "2 chains hold\n")
    for change, complaint in (
        ("UPDATE events SET data = '{}' WHERE seq = 2", "the text of 1-2 was changed"),
        ("UPDATE events SET type = 'CUSTOM' WHERE seq = 3", "the chain breaks at 1-3"),
        ("DELETE FROM events WHERE seq = 2", "the chain breaks at 1-3"),
        ("DELETE FROM events WHERE seq = 3", "events at the end are missing"),
    ):
        with psycopg.connect(database_url) as db:
            before = db.execute("SELECT * FROM events").fetchall()
            db.execute(change)
        status, said = _verify(database_url)
        assert status == 1
        assert complaint in said
        with psycopg.connect(database_url) as db:
            db.execute("DELETE FROM events")
            for row in before:
                db.execute(f"INSERT INTO events VALUES ({', '.join(['%s'] * len(row))})", row)
    assert _verify(database_url)[0] == 0


def _fill(url: str) -> None:
    """Two threads: one with three rows, chained by toolsvc's own code, and one without any."""
    kinds = ((1, 1, "RUN_STARTED"), (2, 2, "STEP_STARTED"), (3, 9, "TEXT_MESSAGE_CHUNK"))
    chained = extend(None, [sealed(1, seq, to, kind, '{"ü":1}') for seq, to, kind in kinds])
    assert all(len(one.row.salt) == SALT_BYTES for one in chained)
    user, thread = uuid7(), uuid7()
    with psycopg.connect(url) as db:
        db.execute(
            "INSERT INTO users (id, email, admin) VALUES (%s, 'ada@example.com', false)", [user]
        )
        for key, name, chain in ((thread, "full", chained[-1].hash), (uuid7(), "empty", None)):
            db.execute(
                "INSERT INTO threads (id, user_id, public_id, agent, settled, chain) "
                "VALUES (%s, %s, %s, 'Assistant', %s, %s)",
                [key, user, name, 1 if chain else 0, chain],
            )
        for row, hash_ in chained:
            db.execute(
                "INSERT INTO events (thread_id, fence, seq, seq_to, run_id, type, data, salt, "
                "digest, hash) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    *(thread, row.fence, row.seq, row.seq_to, uuid4()),
                    *(row.type, row.data, row.salt, row.digest, hash_),
                ],
            )


def _verify(url: str) -> tuple[int, str]:
    """Exit status and words of the page's own program."""
    done = subprocess.run(
        [sys.executable, "-c", block(PAGE, "run: chain")],
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
