"""What each Redis user may do, tried on the real server."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from stack.credentials import Credentials
from stack.program import free_port
from stack.resp import RespConnection, RespError
from stack.test_stores import _running
from stack.valkey import RULES, Valkey

pytestmark = pytest.mark.stores

EVENTS = "thread:{0198}:events"


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    folder: Path = tmp_path_factory.mktemp("valkey")
    it = Valkey(folder=folder, port=free_port(), credentials=Credentials.generate())
    with _running(it.program()):
        yield it


@pytest.mark.parametrize("user", list(RULES))
def test_every_user_signs_in_with_the_password_of_its_own(valkey: Valkey, user: str) -> None:
    with RespConnection(valkey.url(user)) as connection:
        assert connection.call("PING") == "PONG"
    wrong = valkey.url(user).replace(valkey._password(user), "wrong")
    with pytest.raises(RespError, match="WRONGPASS"):
        RespConnection(wrong)


def test_nobody_gets_in_without_a_password(valkey: Valkey) -> None:
    with (
        RespConnection(f"redis://127.0.0.1:{valkey.port}") as connection,
        pytest.raises(RespError, match="NOAUTH"),
    ):
        connection.call("GET", "x")


@pytest.mark.parametrize("user", ["gateway", "runner", "toolsvc"])
def test_a_service_appends_by_script_and_reads(valkey: Valkey, user: str) -> None:
    script = (
        "redis.call('XADD', KEYS[1], '*', 'type', 'x') redis.call('EXPIRE', KEYS[1], 60) "
        "return redis.call('PUBLISH', KEYS[1], 'x')"
    )
    with RespConnection(valkey.url(user)) as connection:
        digest = connection.call("SCRIPT", "LOAD", script)
        assert isinstance(digest, bytes)
        assert connection.call("EVALSHA", digest, 1, EVENTS) == 0
        assert connection.call("XRANGE", EVENTS, "-", "+")


@pytest.mark.parametrize("user", ["gateway", "runner", "toolsvc", "reader"])
@pytest.mark.parametrize(
    "command",
    ["FLUSHALL", "KEYS *", "CONFIG GET *", "SHUTDOWN", "SET other 1", "ACL LIST"],
)
def test_nobody_but_the_admin_does_harm(valkey: Valkey, user: str, command: str) -> None:
    with (
        RespConnection(valkey.url(user)) as connection,
        pytest.raises(RespError, match="NOPERM"),
    ):
        connection.call(*command.split())


def test_a_runner_hears_of_no_users(valkey: Valkey) -> None:
    with RespConnection(valkey.url("runner")) as connection:
        for command in ("SUBSCRIBE user:{1}", "PUBLISH user:{1} x", "XRANGE user:{1} - +"):
            with pytest.raises(RespError, match="NOPERM"):
                connection.call(*command.split())


def test_the_reader_looks_and_does_not_touch(valkey: Valkey) -> None:
    with RespConnection(valkey.url("reader")) as connection:
        for command in (f"XRANGE {EVENTS} - +", "XLEN runs", "SCAN 0", "INFO", "TTL runs"):
            connection.call(*command.split())
        for command in (f"XADD {EVENTS} * a b", "PUBLISH runs x", "DEL runs", "EVAL 'x' 0"):
            with pytest.raises(RespError, match="NOPERM"):
                connection.call(*command.split())


@pytest.mark.parametrize("user", list(RULES))
def test_redis_py_connects_as_each_user(valkey: Valkey, user: str) -> None:
    with redis.Redis.from_url(valkey.url(user)) as client:
        assert client.ping()
    with redis.Redis.from_url(valkey.url(user), protocol=2, client_name="us") as client:
        assert client.ping()


def test_the_server_is_not_reached_from_outside(valkey: Valkey) -> None:
    # The whole of 127/8 is this machine; a server that listens everywhere answers there too.
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", valkey.port), timeout=2)
