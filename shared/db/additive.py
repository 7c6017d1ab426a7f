"""Whether migrations only add, so that the release before goes on working beside the new one.

Judged is the SQL that a migration would send, statement by statement: what is not known to be
harmless is a breach. No database is asked.
"""

import re
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Final, NamedTuple

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from shared.db.engine import driver_url
from shared.db.migrate import alembic_config


class Migration(NamedTuple):
    """One migration: its number, what it says it is, and its statements."""

    revision: str
    about: str
    statements: list[str]


class Breach(NamedTuple):
    """A statement that the release before may not survive."""

    revision: str
    statement: str
    why: str


_NAME: Final = r'"?(\w+)"?'
_CREATE_TABLE: Final = re.compile(rf"CREATE TABLE {_NAME} ", re.IGNORECASE)
_ADD_COLUMN: Final = re.compile(
    rf"ALTER TABLE {_NAME} ADD COLUMN {_NAME} (.*)", re.IGNORECASE | re.DOTALL
)
_ADD_CONSTRAINT: Final = re.compile(
    rf"ALTER TABLE {_NAME} ADD (CONSTRAINT|FOREIGN KEY)", re.IGNORECASE
)
_INDEX: Final = re.compile(
    rf"CREATE (UNIQUE )?INDEX (?:CONCURRENTLY )?(?:\w+) ON {_NAME} (.*)", re.IGNORECASE | re.DOTALL
)
_HARMLESS: Final = re.compile(r"CREATE SEQUENCE |COMMENT ON ", re.IGNORECASE)


def migrations() -> list[Migration]:
    """All migrations in the order in which they are made."""
    scripts = ScriptDirectory.from_config(alembic_config("postgresql://"))
    return [
        Migration(one.revision, one.doc, list(_statements(one.module.upgrade)))
        for one in reversed(list(scripts.walk_revisions()))
    ]


def breaches(migration: Migration) -> list[Breach]:
    """Statements of a migration that do more than add."""
    judge = _Judge()
    found = [(statement, judge.why_not(statement)) for statement in migration.statements]
    return [Breach(migration.revision, statement, why) for statement, why in found if why]


def revision_of(url: str) -> str | None:
    """The newest migration that a database has had; `None` where it has had none.

    Raises:
        ValueError: it cannot be asked.
    """
    try:
        engine = create_engine(driver_url(url), poolclass=NullPool)
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        raise ValueError(str(error).splitlines()[0]) from None


def _statements(upgrade: Callable[[], None]) -> Iterator[str]:
    told = StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": told}
    )
    with Operations.context(context):
        upgrade()
    for statement in told.getvalue().split(";\n"):
        if plain := " ".join(statement.split()):
            yield plain


class _Judge:
    """Reads the statements of one migration; what it has made itself nobody else uses yet."""

    def __init__(self) -> None:
        self.tables: set[str] = set()
        self.columns: set[str] = set()

    def why_not(self, statement: str) -> str | None:
        """Why the release before may not survive a statement; `None` where it does."""
        if made := _CREATE_TABLE.match(statement):
            self.tables.add(made[1])
            return None
        if added := _ADD_COLUMN.match(statement):
            self.columns.add(added[2])
            return self._column(added[1], added[3])
        if indexed := _INDEX.match(statement):
            unique, table, rest = indexed.groups()
            own = table in self.tables or not self.columns.isdisjoint(re.findall(r"\w+", rest))
            return "its rows may not be unique" if unique and not own else None
        if constrained := _ADD_CONSTRAINT.match(statement):
            own = constrained[1] in self.tables
            return None if own else "its rows may break a new constraint"
        return None if _HARMLESS.match(statement) else "it does more than add"

    def _column(self, table: str, definition: str) -> str | None:
        words = definition.upper()
        filled = " DEFAULT " in words or " GENERATED " in words
        if table not in self.tables and " NOT NULL" in words and not filled:
            return "it cannot insert rows without the new column"
        return None
