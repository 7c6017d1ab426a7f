"""Debian's Redis, the oldest server that is supported, beside the stores of all tests."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.program import free_port
from stack.resp import RespConnection
from stack.test_stores import TestStores

_START_S = 20


@pytest.fixture(scope="session")
def debian_redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's redis-server on a port of its own; `dev.py test` installs it where it may."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server found (Debian: apt-get install redis-server)")
    port = free_port()
    with _running(found, port, tmp_path_factory.mktemp("redis")) as server:
        url = f"redis://127.0.0.1:{port}/0"
        end = time.monotonic() + _START_S
        while not _answers(url):
            assert server.poll() is None, "redis-server ended at once"
            assert time.monotonic() < end, "redis-server does not answer"
        try:
            yield url
        finally:
            server.terminate()


@pytest.fixture(params=["valkey", "debian"])
def any_redis_url(request: pytest.FixtureRequest, stores: TestStores) -> str:
    """Each kind of server in turn. Not emptied: tests use keys of their own."""
    if request.param == "valkey":
        return stores.redis_url
    url: str = request.getfixturevalue("debian_redis_url")
    return url


def _running(program: str, port: int, folder: Path) -> "subprocess.Popen[bytes]":
    options = f"--port {port} --bind 127.0.0.1 --save '' --appendonly no".split()
    return subprocess.Popen(
        [program, *(option.strip("'") for option in options)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )


def _answers(url: str) -> bool:
    try:
        with RespConnection(url) as redis:
            redis.call("PING")
    except OSError:
        return False
    return True
