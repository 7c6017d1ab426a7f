"""The gateway as a process: it starts, says where it listens, and ends in words or in order."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import httpx
import pytest

from stack.program import ROOT, free_port


def environment(**more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "BATON_GATEWAY_KEY": "g" * 40,
        "BATON_COOKIE_KEY": "c" * 40,
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "BATON_DRAIN_S": "0",
    } | more


@contextmanager
def started(env: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway"],
        cwd=ROOT,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(process: "subprocess.Popen[str]", event: str) -> list[dict[str, object]]:
    assert process.stdout
    found: list[dict[str, object]] = []
    for line in process.stdout:
        found.append(json.loads(line))
        if found[-1]["event"] == event:
            return found
    raise AssertionError(f"the process ended without {event!r}: {found}")


@pytest.mark.stores
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_ends_in_order(
    database_url: str, redis_url: str, number: signal.Signals
) -> None:
    port = free_port()
    env = environment(DATABASE_URL=database_url, REDIS_URL=redis_url, BATON_PORT=str(port))
    with started(env) as process:
        assert lines_until(process, "listening")[-1]["port"] == port
        assert httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).json()["ready"]
        process.send_signal(number)
        assert lines_until(process, "stopped")
        assert process.wait(10) == 0


@pytest.mark.stores
def test_under_a_supervisor_it_ends_when_its_standard_input_closes(
    database_url: str, redis_url: str
) -> None:
    env = environment(
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        BATON_PORT=str(free_port()),
        BATON_SUPERVISED="1",
    )
    with started(env) as process:
        lines_until(process, "listening")
        assert process.stdin
        process.stdin.close()
        assert lines_until(process, "stopped")
        assert process.wait(10) == 0


def test_it_starts_without_stores_and_says_so_when_asked() -> None:
    port = free_port()
    with started(environment(BATON_PORT=str(port))) as process:
        lines_until(process, "listening")
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False)
        assert answer.status_code == 503
        assert answer.json()["checks"] == {"postgres": False, "redis": False, "accepting": True}


@pytest.mark.parametrize(("supervised", "status"), [("false", 2), ("true", 1)])
def test_a_port_that_is_taken_is_named(supervised: str, status: int) -> None:
    """A supervisor tries again, for its own process of before may be the one that has it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        env = environment(BATON_PORT=str(port), BATON_SUPERVISED=supervised)
        with started(env) as process:
            assert process.stdout
            said = process.stdout.read()
            assert process.wait(60) == status
    assert f"Wrong setting: BATON_PORT: port {port} of 127.0.0.1" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"BATON_PORT": "much"}, "BATON_PORT"),
        ({"BATON_COOKIE_KEY": "short"}, "BATON_COOKIE_KEY"),
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"BATON_DEV_MODE": "1", "BATON_HOST": "0.0.0.0"}, "BATON_DEV_MODE"),
        ({"BATON_HOST": "no such host"}, "Wrong setting: BATON_HOST: 'no such host'"),
        ({"BATON_HOST": "http://127.0.0.1"}, "Wrong setting: BATON_HOST"),
        ({"BATON_HOST": "127.0.0.1:8000"}, "Wrong setting: BATON_HOST"),
        ({"BATON_HOST": "x" * 64 + "."}, "Wrong setting: BATON_HOST"),
        ({"BATON_HOST": "192.0.2.1"}, "Wrong setting: BATON_HOST: '192.0.2.1' is not an address"),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(more: dict[str, str], named: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway"],
        cwd=ROOT,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "Wrong setting: " in done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
