import os
import subprocess
import sys
from pathlib import Path

import docker.errors  # type: ignore[import-untyped]
import psycopg
import pytest

from stack.errors import StackError
from stack.resp import RespConnection
from stack.test_stores import Source, TestStores, choose, opened

BOTH = {"BATON_TEST_DATABASE_URL": "postgresql://x/y", "BATON_TEST_REDIS_URL": "redis://x"}


def engine() -> bool:
    return True


def no_engine() -> bool:
    return False


def asked_for_nothing() -> bool:
    raise AssertionError("the engine was asked")


def test_urls_in_the_environment_come_first() -> None:
    assert choose(BOTH, asked_for_nothing) is Source.ENV


def test_containers_are_taken_where_an_engine_answers() -> None:
    assert choose({}, engine) is Source.DOCKER


def test_the_embedded_servers_are_taken_elsewhere() -> None:
    assert choose({}, no_engine) is Source.LOCAL


@pytest.mark.parametrize("source", list(Source))
def test_a_forced_source_wins(source: Source) -> None:
    assert choose(BOTH | {"BATON_TEST_STORES": source}, asked_for_nothing) is source


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(StackError, match="use env, docker or local"):
        choose({"BATON_TEST_STORES": "cloud"}, engine)


def test_one_url_alone_is_refused() -> None:
    with pytest.raises(StackError, match="set both"):
        choose({"BATON_TEST_REDIS_URL": "redis://x"}, no_engine)


@pytest.mark.stores
def test_an_engine_that_cannot_start_containers_is_left_aside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stack.test_stores.docker_engine_answers", engine)
    monkeypatch.setattr("stack.test_stores.VALKEY_IMAGE", "no/such:image")
    with opened({}) as stores:
        assert stores.source is Source.LOCAL
    assert "taking the embedded servers" in capsys.readouterr().out


def test_a_forced_engine_that_cannot_start_containers_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(docker.errors.DockerException), opened({"BATON_TEST_STORES": "docker"}):
        pass


@pytest.mark.stores
def test_each_test_gets_a_migrated_database_of_its_own(stores: TestStores) -> None:
    with stores.database() as one, stores.database() as other:
        assert one != other
        with psycopg.connect(one) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables").fetchall()
            assert ("runs",) in tables
            connection.execute("CREATE TABLE mine (x int)")
        with psycopg.connect(other) as connection:
            assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)


@pytest.mark.stores
def test_services_under_test_are_no_superusers(stores: TestStores, database_url: str) -> None:
    if stores.source is not Source.LOCAL:
        return  # another server's roles are its owner's business
    with psycopg.connect(database_url) as connection:
        query = "SELECT usesuper FROM pg_user WHERE usename = current_user"
        assert connection.execute(query).fetchone() == (False,)


@pytest.mark.stores
def test_redis_is_empty_for_each_test(stores: TestStores, redis_url: str) -> None:
    with RespConnection(redis_url) as redis:
        redis.call("SET", "left", "over")
        stores.empty_redis()
        assert redis.call("DBSIZE") == 0


@pytest.mark.parametrize(("strict", "code"), [("1", 1), ("", 0)])
def test_a_skip_fails_the_session_only_where_asked(tmp_path: Path, strict: str, code: int) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_sessionfinish\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.skip\ndef test_a(): ...\ndef test_b(): ...\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env=os.environ
        | {"BATON_FAIL_ON_SKIP": strict, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == code, done.stdout
