"""Migrations only add: judged by their SQL, and tried with the statements of the release before."""

from typing import Any

import psycopg
import pytest
from alembic import command
from psycopg import sql

from shared.db.additive import Migration, breaches, migrations, revision_of
from shared.db.migrate import alembic_config
from shared.db.tables import METADATA

MADE = "CREATE TABLE new ( id UUID NOT NULL )"


def test_all_migrations_only_add() -> None:
    known = migrations()
    assert [one.revision for one in known] == sorted(one.revision for one in known)
    assert all(one.statements for one in known)
    assert [found for one in known for found in breaches(one)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE runs",
        "DROP INDEX runs_by_user",
        "ALTER TABLE runs DROP COLUMN usage",
        "ALTER TABLE runs RENAME COLUMN usage TO tokens",
        "ALTER TABLE runs RENAME TO jobs",
        "ALTER TABLE runs ALTER COLUMN turn TYPE TEXT",
        "ALTER TABLE runs ALTER COLUMN usage SET NOT NULL",
        "ALTER TABLE runs ALTER COLUMN ready DROP DEFAULT",
        "ALTER TABLE runs ADD COLUMN size BIGINT NOT NULL",
        "ALTER TABLE runs ADD CONSTRAINT sane CHECK (turn > 0)",
        "ALTER TABLE runs ADD FOREIGN KEY(agent) REFERENCES agents (id)",
        "CREATE UNIQUE INDEX runs_once ON runs (user_id, agent)",
        "UPDATE runs SET status = 'done' WHERE status = 'finished'",
        "DELETE FROM events",
        "CREATE TRIGGER stamp BEFORE INSERT ON runs EXECUTE FUNCTION stamp()",
    ],
)
def test_what_does_more_is_named(statement: str) -> None:
    (found,) = breaches(Migration("0099", "A test.", [MADE, statement]))
    assert (found.revision, found.statement) == ("0099", statement)
    assert found.why


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE runs_more ( id UUID NOT NULL )",
        "ALTER TABLE runs ADD COLUMN size BIGINT",
        "ALTER TABLE runs ADD COLUMN size BIGINT DEFAULT 0 NOT NULL",
        "ALTER TABLE new ADD COLUMN size BIGINT NOT NULL",
        "ALTER TABLE new ADD CONSTRAINT sane CHECK (size > 0)",
        "CREATE UNIQUE INDEX new_once ON new (id)",
        "CREATE INDEX CONCURRENTLY runs_by_size ON runs (size)",
        "CREATE SEQUENCE numbers",
    ],
)
def test_what_only_adds_is_fine(statement: str) -> None:
    assert breaches(Migration("0099", "A test.", [MADE, statement])) == []


@pytest.mark.stores
def test_statements_of_the_release_before_work_on_each_new_schema(database_url: str) -> None:
    """What it inserts, with the columns that it knows, is inserted after the migration, too."""
    config = alembic_config(database_url)
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute("DROP SCHEMA public CASCADE")
        db.execute("CREATE SCHEMA public")
        assert revision_of(database_url) is None
        before: dict[str, list[tuple[str, str]]] = {}
        for migration in migrations():
            _insert(db, before)
            command.upgrade(config, migration.revision)
            assert revision_of(database_url) == migration.revision
            _insert(db, before)
            before = _required(db)
        assert set(before) == set(METADATA.tables)


def _required(db: psycopg.Connection[Any]) -> dict[str, list[tuple[str, str]]]:
    """Of each table the columns that an insert has to fill, in an order that suits foreign keys."""
    rows = db.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = 'public' AND is_nullable = 'NO' AND column_default IS NULL "
        "AND is_generated = 'NEVER' AND table_name <> 'alembic_version'"
    ).fetchall()
    found = {
        table.name: [(column, kind) for name, column, kind in rows if name == table.name]
        for table in METADATA.sorted_tables
    }
    return {table: columns for table, columns in found.items() if columns}


def _insert(db: psycopg.Connection[Any], tables: dict[str, list[tuple[str, str]]]) -> None:
    for table in tables:
        db.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.Identifier(table)))
    for table, columns in tables.items():
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
            sql.SQL(", ").join(sql.SQL(_VALUES[kind]) for _, kind in columns),
        )
        db.execute(statement)


#: One of each type; all ids are the same, so that rows find those they refer to.
_VALUES: dict[str, Any] = {
    "uuid": "'00000000-0000-0000-0000-000000000001'",
    "text": "'x'",
    "character varying": "'x'",
    "bigint": "1",
    "integer": "1",
    "boolean": "false",
    "bytea": "'\\x00'",
    "json": "'{}'",
    "timestamp with time zone": "now()",
}
