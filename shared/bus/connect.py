"""Connections to Redis, with settings that were measured: redis-py's own would re-send and wait.

No automatic retries (they double entries whose reply was lost), bounded waits, one shape of reply.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, cast

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.bus.sentinel import to_master
from shared.bus.sentinel_url import parse_sentinel_url
from shared.errors import Store

#: Every request must answer within 3 s while Redis is a black hole.
COMMAND_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 1.5

#: What "Redis is away" looks like. LOADING, READONLY and the like come as RedisError too.
AWAY = (RedisError, RedisConnectionError, RedisTimeoutError, OSError)
REDIS = Store("Redis", AWAY, lambda _: True)

__all__ = ["AWAY", "REDIS", "Connection", "Redis", "RedisError"]


def commands_client(url: str, name: str, *, connections: int = 16) -> Redis:
    """A client for ordinary commands: bounded waits, no retries."""
    return Redis.from_pool(_pool(url, name, connections, COMMAND_TIMEOUT_S))


def blocking_client(url: str, name: str, *, block_s: float) -> Redis:
    """A client for one blocking read at a time that lasts up to `block_s` seconds."""
    return Redis.from_pool(_pool(url, name, 2, block_s + 3))


def lone_connection(url: str, name: str) -> Connection:
    """A bare connection, for a reader that lives on pub/sub and watches it itself."""
    pool = _pool(url, name, 1, None)
    return cast("Connection", pool.connection_class(**pool.connection_kwargs))


def _pool(url: str, name: str, connections: int, timeout_s: float | None) -> BlockingConnectionPool:
    options: dict[str, Any] = {
        "max_connections": connections,
        "timeout": COMMAND_TIMEOUT_S,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "health_check_interval": 0,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "client_name": name,
    }
    if watched := parse_sentinel_url(url):
        pool = BlockingConnectionPool(**to_master(watched) | options)
    else:
        pool = BlockingConnectionPool.from_url(url, **options)
    plain: Any = pool.connection_class
    pool.connection_class = _packing_in_c(plain)
    return pool


@cache
def _packing_in_c(connection: type[Any]) -> type[Any]:
    return type(connection.__name__, (_PackingInC, connection), {})


class _PackingInC:
    """For a class of connections: redis-py's asynchronous ones pack each argument in Python."""

    def pack_command(self, *command: Any) -> list[bytes]:
        """See Connection."""
        return [_packed(command)]

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        """See Connection."""
        return [b"".join([_packed(tuple(command)) for command in commands])]


def _packed(command: tuple[Any, ...]) -> bytes:
    name, *rest = command
    words = name.split() if " " in name else [name]  # "CLIENT SETNAME" is two for the server
    packed: bytes = hiredis.pack_command((*words, *rest))
    return packed
