"""Connections to Redis: what goes over the wire is what redis-py would send."""

from typing import Any

import pytest
from redis.asyncio.connection import Connection

from shared.bus.connect import commands_client, lone_connection

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

COMMANDS = [
    ("EVALSHA", "a" * 40, 1, "events:x", "append", "", '{"delta":"héllo\u2028"}'),
    ("CLIENT SETNAME", "gateway-1"),
    ("SET", b"\x00\xff", 1.5),
    ("SET", "large", "x" * 100_000),
    ("PING",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
async def test_commands_are_packed_as_redis_py_packs_them(command: tuple[Any, ...]) -> None:
    ours, theirs = lone_connection("redis://unused", "test"), Connection()
    assert b"".join(ours.pack_command(*command)) == b"".join(theirs.pack_command(*command))
    assert b"".join(ours.pack_commands([command, ("PING",)])) == b"".join(
        theirs.pack_commands([command, ("PING",)])
    )


async def test_what_is_packed_arrives(redis_url: str) -> None:
    async with commands_client(redis_url, "test") as redis:
        async with redis.pipeline(transaction=False) as pipe:
            pipe.set("kept", "héllo")
            pipe.get("kept")
            pipe.client_getname()
            assert await pipe.execute() == [True, "héllo".encode(), "test"]
        await redis.delete("kept")
