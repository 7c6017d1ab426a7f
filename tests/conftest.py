"""Fixtures for all tests: real stores, and a session that fails when CI skipped something."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
import structlog

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also without dev.py's path file

from stack import program
from stack.node import find_node
from stack.test_stores import TestStores, opened
from stack.testing import JS, find_browser

#: Tracebacks as Python writes them; with all local variables each takes seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)


def pytest_configure() -> None:
    """Sessions side by side take their ports from ranges of their own.

    A port is free when it is chosen, and may be gone some seconds later, when it is used.
    """
    ports, count = program.FREE_PORTS, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share = len(ports) // count
    program.FREE_PORTS = ports[_worker() * share : (_worker() + 1) * share]


def _worker() -> int:
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@pytest.fixture(scope="session", autouse=True)
def _one_certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each HTTP client reads all authorities of the web, for 25 ms, and tests talk to loopback."""
    end = "-----END CERTIFICATE-----\n"
    first, _, _ = certifi.contents().partition(end)
    file = tmp_path_factory.mktemp("certificates") / "one.pem"
    file.write_text(first + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(file))
        yield


@pytest.fixture(scope="session")
def stores() -> Iterator[TestStores]:
    """Redis and Postgres of this session (of this worker, under pytest-xdist)."""
    with opened(os.environ, worker=_worker()) as started:
        yield started


@pytest.fixture
def database_url(stores: TestStores) -> Iterator[str]:
    """A migrated, empty database for this test alone: `postgresql://…`."""
    with stores.database() as url:
        yield url


@pytest.fixture
def redis_url(stores: TestStores) -> str:
    """An empty Redis, with every right: `redis://…`."""
    stores.empty_redis()
    return stores.redis_url


@pytest.fixture(scope="session")
def demo_url() -> Iterator[str]:
    """The root URL of a demo model, `http://…` without `/v1`, started as people start it."""
    command = [sys.executable, "-m", "stack.demo_model", "--port", "0"]
    with subprocess.Popen(command, cwd=program.ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        try:
            yield line.split()[-1].removesuffix("/v1")
        finally:
            server.terminate()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a browser or Node.js where there is none; `dev.py test` has said so."""
    missing = {
        "browser": None if find_browser() else "no Chromium found",
        "node": None if find_node(JS) else "no Node.js, or `npm ci` in tests/js has not run",
    }
    for item in items:
        for marker, reason in missing.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With `BATON_FAIL_ON_SKIP=1`, as in CI, a test that was skipped is a test that failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or os.environ.get("BATON_FAIL_ON_SKIP") != "1":
        return
    skipped = len(reporter.stats.get("skipped", []))
    if skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{skipped} skipped, and BATON_FAIL_ON_SKIP=1 counts that as failed")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
