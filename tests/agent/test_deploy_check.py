"""`deploy-check`: it says what it checked, and refuses what cannot work side by side."""

import psycopg
import pytest

from shared.db import additive
from shared.db.additive import Migration
from tests.agent.conftest import Baton

BAD = Migration("0099", "A test.", ["DROP TABLE runs"])


def test_this_release_only_adds(baton: Baton) -> None:
    result = baton("deploy-check")
    assert result.status == 0
    assert "all of them only add" in result.out
    assert baton("deploy-check", "--json").json["problems"] == []


def test_a_migration_that_takes_something_away_is_named(
    baton: Baton, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(additive, "migrations", lambda: [BAD])
    result = baton("deploy-check")
    assert result.status == 1
    assert "0099 (it does more than add): DROP TABLE runs" in result.out


@pytest.mark.stores
def test_what_a_database_lacks_is_to_come(baton: Baton, database_url: str) -> None:
    known = [one.revision for one in additive.migrations()]
    result = baton("deploy-check", "--database", database_url, "--json")
    assert (result.status, result.json["pending"]) == (0, [])
    with psycopg.connect(database_url) as db:
        db.execute("UPDATE alembic_version SET version_num = %s", [known[-3]])
    result = baton("deploy-check", "--database", database_url, "--json")
    assert [one["revision"] for one in result.json["pending"]] == known[-2:]
    with psycopg.connect(database_url) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    result = baton("deploy-check", "--database", database_url)
    assert result.status == 1
    assert "does not know migration 9999" in result.out


def test_a_database_that_is_not_there_is_told_in_words(baton: Baton) -> None:
    result = baton("deploy-check", "--database", "postgresql://nobody@127.0.0.1:1/x")
    assert result.status == 1
    assert "cannot be asked" in result.err
