import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from stack import postgres as module
from stack.credentials import Credentials
from stack.errors import StackError
from stack.postgres import Postgres, binaries
from stack.program import anybody_can_enter, free_port
from stack.scratch import scratch_folder
from stack.test_stores import _running

pytestmark = pytest.mark.stores


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with scratch_folder() as folder:
        it = Postgres(
            folder=folder / "postgres", port=free_port(), credentials=Credentials.generate()
        )
        it.prepare()
        with _running(it.program()):
            yield it


def test_services_own_their_database_and_are_no_superusers(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url()) as connection:
        row = connection.execute(
            "SELECT current_user, usesuper, usecreatedb, pg_get_userbyid(datdba) "
            "FROM pg_user, pg_database "
            "WHERE usename = current_user AND datname = current_database()"
        ).fetchone()
    assert row == ("baton", False, False, "baton")


def test_a_commit_is_on_disk_before_it_is_answered(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url()) as connection:
        shown = [
            connection.execute(f"SHOW {name}").fetchone()
            for name in ("synchronous_commit", "fsync", "full_page_writes", "max_connections")
        ]
    assert shown == [("on",), ("on",), ("on",), ("200",)]


@pytest.mark.parametrize("user", ["baton", "postgres"])
def test_passwords_are_asked_for(postgres: Postgres, user: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://{user}:wrong@127.0.0.1:{postgres.port}/baton")


def test_text_is_unicode(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url()) as connection:
        assert connection.execute("SELECT lower('ÄÖÜ')").fetchone() == ("äöü",)


def test_a_cluster_is_made_once(postgres: Postgres) -> None:
    before = (postgres.data / "PG_VERSION").stat().st_mtime_ns
    postgres.prepare()
    assert (postgres.data / "PG_VERSION").stat().st_mtime_ns == before


def test_a_half_made_cluster_is_made_anew() -> None:
    with scratch_folder() as folder:
        it = Postgres(
            folder=folder / "postgres",
            port=free_port(),
            credentials=Credentials.generate(),
            durable=False,
        )
        (folder / "postgres" / "data.new" / "base").mkdir(parents=True)
        it.prepare()
        with _running(it.program()):
            psycopg.connect(it.url()).close()


@pytest.mark.usefixtures("as_root")
def test_as_root_the_server_runs_as_nobody(postgres: Postgres) -> None:
    user = postgres.program().user
    assert user
    assert user.uid != 0
    assert postgres.data.stat().st_uid == user.uid


@pytest.mark.usefixtures("as_root")
def test_what_nobody_cannot_reach_lies_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout and a home below a closed folder, as /root is."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with scratch_folder() as shared:
        monkeypatch.setattr(module, "SHARED", shared / "baton")
        monkeypatch.setattr(module, "anybody_can_enter", lambda place: closed in place.parents)
        assert binaries().is_relative_to(shared)
        monkeypatch.setattr(
            module, "anybody_can_enter", lambda place: not place.is_relative_to(closed)
        )
        it = Postgres(
            folder=closed / "home" / "postgres",
            port=free_port(),
            credentials=Credentials.generate(),
            durable=False,
        )
        it.prepare()
        assert it.folder.is_symlink()
        with _running(it.program()):
            psycopg.connect(it.url()).close()


@pytest.mark.usefixtures("as_root")
def test_a_shared_folder_that_others_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "baton").mkdir()
    (tmp_path / "baton").chmod(0o777)
    monkeypatch.setattr(module, "SHARED", tmp_path / "baton")
    monkeypatch.setattr(module, "anybody_can_enter", lambda _: False)
    with pytest.raises(StackError, match="writable by root only"):
        binaries()


def test_a_closed_folder_above_is_seen(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "open"
    inner.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    assert not anybody_can_enter(inner)
    shutil.rmtree(tmp_path / "closed")


@pytest.fixture
def as_root() -> None:
    """These rules exist for root only; for others there is nothing to test, nor to skip."""
    if os.geteuid() != 0:
        pytest.xfail("only root changes users")
