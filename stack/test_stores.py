"""Redis and Postgres for the tests: from the environment, from containers, or the embedded ones.

In this order: `BATON_TEST_DATABASE_URL` with `BATON_TEST_REDIS_URL`; containers where a Docker
engine answers; the servers from the wheels. `BATON_TEST_STORES=env|docker|local` forces one, and
then fails instead of falling back.
"""

import gc
import os
import secrets
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from stack.credentials import Credentials
from stack.errors import StackError
from stack.postgres import Postgres
from stack.program import ROOT, Program, free_port
from stack.resp import RespConnection
from stack.scratch import scratch_folder
from stack.valkey import Valkey

#: The same majors as the embedded servers and the compose file.
VALKEY_IMAGE, POSTGRES_IMAGE = "valkey/valkey:9-alpine", "postgres:18-alpine"

START_S = 60


class Source(StrEnum):
    """Where the tests' stores come from."""

    ENV = "env"  #: URLs in the environment
    DOCKER = "docker"  #: containers, by testcontainers
    LOCAL = "local"  #: the servers in the wheels, started here


@dataclass(frozen=True, slots=True, kw_only=True)
class TestStores:
    """Stores that live as long as the test session.

    `database_url` names a database from which others can be made; `redis_url` may be emptied.
    """

    __test__ = False  # pytest would take the name for a class of tests

    source: Source
    database_url: str
    redis_url: str
    template: str = field(default_factory=lambda: f"baton_template_{secrets.token_hex(4)}")

    def migrate_template(self) -> None:
        """Make the database that every test's database is copied from."""
        self._admin("CREATE DATABASE {}", self.template)
        done = subprocess.run(
            [sys.executable, "-m", "shared.db", "upgrade"],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": self._at(self.template)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StackError(f"the migrations failed:\n{done.stdout}{done.stderr}")

    @contextmanager
    def database(self) -> Iterator[str]:
        """A migrated database of one's own, as a URL."""
        name = f"baton_test_{secrets.token_hex(6)}"
        # Copying files is three times as fast as copying through the log (measured).
        self._admin("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, self.template)
        try:
            yield self._at(name)
        finally:
            self._drop(name)

    def drop_template(self) -> None:
        """Leave nothing behind in a server that is not ours."""
        self._drop(self.template)

    def empty_redis(self) -> None:
        """Forget all keys; in a server that is not ours, those of one database number."""
        with RespConnection(self.redis_url) as redis:
            redis.call("FLUSHDB" if self.source is Source.ENV else "FLUSHALL")

    def _drop(self, name: str) -> None:
        """Drop a database, whoever is still connected to it.

        `WITH (FORCE)` would be refused while Postgres itself vacuums there: only a superuser may
        end its process. The plain statement sends that one away, but waits for everybody else.
        """
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = %s AND usename = current_user",
                (name,),
            )
        self._admin("DROP DATABASE IF EXISTS {}", name)

    def _at(self, database: str) -> str:
        return urlsplit(self.database_url)._replace(path=f"/{database}").geturl()

    def _admin(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            identifiers = [sql.Identifier(name) for name in names]
            connection.execute(sql.SQL(statement).format(*identifiers))


def choose(environ: Mapping[str, str], engine_answers: Callable[[], bool]) -> Source:
    """Where the stores shall come from. `engine_answers` is asked only where it matters."""
    given = [name for name in _URLS if environ.get(name)]
    forced = environ.get("BATON_TEST_STORES")
    if forced:
        try:
            return Source(forced)
        except ValueError:
            raise StackError(f"BATON_TEST_STORES={forced}: use env, docker or local") from None
    if len(given) == 1:
        raise StackError(f"{given[0]} is set alone: set both {' and '.join(_URLS)}")
    if given:
        return Source.ENV
    return Source.DOCKER if engine_answers() else Source.LOCAL


@contextmanager
def opened(environ: Mapping[str, str], *, worker: int = 0) -> Iterator[TestStores]:
    """Start the chosen stores and migrate the template; `worker` counts parallel sessions."""
    source = choose(environ, docker_engine_answers)
    with ExitStack() as lifetime:
        match source:
            case Source.ENV:
                stores = _from_environment(environ, worker)
            case Source.LOCAL:
                stores = lifetime.enter_context(_local())
            case Source.DOCKER:
                forced = bool(environ.get("BATON_TEST_STORES"))
                stores = _containers_if_possible(lifetime, forced=forced) or (
                    lifetime.enter_context(_local())
                )
        stores.migrate_template()
        lifetime.callback(stores.drop_template)
        yield stores


def docker_engine_answers() -> bool:
    """Whether a Docker engine can be reached; the command `docker` alone proves nothing."""
    with _leaks_forgiven():
        return _ping()


def _ping() -> bool:
    import docker  # type: ignore[import-untyped]  # noqa: PLC0415 - slow, seldom needed

    try:
        client = docker.from_env(timeout=3)
    except docker.errors.DockerException:
        return False
    try:
        return bool(client.ping())
    except (docker.errors.DockerException, OSError):
        return False
    finally:
        client.close()


@contextmanager
def _leaks_forgiven() -> Iterator[None]:
    """The Docker client leaks its socket when nobody answers; warnings of that are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


_URLS = ("BATON_TEST_DATABASE_URL", "BATON_TEST_REDIS_URL")


def _from_environment(environ: Mapping[str, str], worker: int) -> TestStores:
    missing = [name for name in _URLS if not environ.get(name)]
    if missing:
        raise StackError(f"BATON_TEST_STORES=env needs {' and '.join(missing)}")
    database, redis = (environ[name] for name in _URLS)
    parts = urlsplit(redis)
    number = int(parts.path.strip("/") or 0) + worker
    return TestStores(
        source=Source.ENV,
        database_url=database,
        redis_url=parts._replace(path=f"/{number}").geturl(),
    )


@contextmanager
def _local() -> Iterator[TestStores]:
    credentials = Credentials.generate()
    with scratch_folder() as folder:
        postgres = Postgres(
            folder=folder / "postgres", port=free_port(), credentials=credentials, durable=False
        )
        valkey = Valkey(
            folder=folder / "valkey", port=free_port(), credentials=credentials, durable=False
        )
        postgres.prepare()
        with _running(valkey.program()), _running(postgres.program()):
            _let_role_make_databases(postgres)
            yield TestStores(
                source=Source.LOCAL, database_url=postgres.url(), redis_url=valkey.url()
            )


def _let_role_make_databases(postgres: Postgres) -> None:
    # Tests work as the role that services use, no superuser, so that what needs one shows.
    with psycopg.connect(postgres.admin_url(), autocommit=True) as connection:
        connection.execute("ALTER ROLE baton CREATEDB")


def _containers_if_possible(lifetime: ExitStack, *, forced: bool) -> TestStores | None:
    """Containers, or `None` where the engine cannot start them, as without a way to the images."""
    with _leaks_forgiven():
        try:
            return lifetime.enter_context(_containers())
        except Exception as error:  # whatever the engine's client raises
            if forced:
                raise
            print(f"containers failed ({error}); taking the embedded servers")
    return None


@contextmanager
def _containers() -> Iterator[TestStores]:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - as above

    password = secrets.token_hex(12)
    with ExitStack() as lifetime:
        valkey = DockerContainer(VALKEY_IMAGE).with_exposed_ports(6379)
        postgres = (
            DockerContainer(POSTGRES_IMAGE)
            .with_env("POSTGRES_PASSWORD", password)
            .with_exposed_ports(5432)
        )
        lifetime.enter_context(valkey)
        lifetime.enter_context(postgres)
        redis_at = f"{valkey.get_container_host_ip()}:{valkey.get_exposed_port(6379)}"
        sql_at = f"{postgres.get_container_host_ip()}:{postgres.get_exposed_port(5432)}"
        stores = TestStores(
            source=Source.DOCKER,
            database_url=f"postgresql://postgres:{password}@{sql_at}/postgres",
            redis_url=f"redis://{redis_at}/0",
        )
        _wait("the containers", lambda: _both_answer(stores))
        yield stores


def _both_answer(stores: TestStores) -> bool:
    try:
        stores.empty_redis()
        psycopg.connect(stores.database_url, connect_timeout=2).close()
    except (OSError, psycopg.OperationalError):
        return False
    return True


@contextmanager
def _running(program: Program) -> Iterator[None]:
    """Run a store for the block. The supervisor has its own way, which starts the dead again."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            program.command,
            env=dict(program.env),
            cwd=program.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(program.name, lambda: process.poll() is not None or program.ready())
            if process.returncode is not None:
                output.seek(0)
                raise StackError(f"{program.name} ended at once:\n{output.read()}")
            yield
        finally:
            process.send_signal(program.stop_signal)
            try:
                process.wait(program.patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(what: str, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + START_S
    while not ready():
        if time.monotonic() > end:
            raise StackError(f"{what} did not answer within {START_S} s")
        time.sleep(0.01)
