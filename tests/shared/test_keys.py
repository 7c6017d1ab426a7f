"""Every key of Redis is in the table, and has an end unless the table calls it permanent."""

import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from shared.bus import doorbell
from shared.bus.append import Batch, Entry, Mode, append
from shared.bus.connect import commands_client
from shared.bus.keys import KEYS, events_key, runner_key
from shared.bus.limits import Limit, Limiter
from shared.protocol.position import START, Position

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

#: What stands in a pattern for an id.
_PLACES = {"<uuid>": r"[0-9a-f-]{36}", "<id>": r".+"}


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = commands_client(redis_url, "baton-test")
    yield client
    await client.aclose()


def _pattern(key: str) -> str:
    pattern = re.escape(key)
    for place, found in _PLACES.items():
        pattern = pattern.replace(re.escape(place), found)
    return pattern


async def _converse(redis: Redis) -> None:
    """The bus calls of two runs in one thread, of which the second is taken over, and a limit's."""
    thread, run = uuid4(), uuid4()
    await doorbell.ensure_group(redis)
    for fence in (1, 2, 3):
        await doorbell.ring(redis, [doorbell.Ring(run, thread)])
        bells = await doorbell.listen(redis, "runner-1", most=1, block_ms=1)
        start = [Entry(Position(fence, 1), "RUN_STARTED", "run_1", "{}")]
        await append(redis, Batch(thread, fence, start, Mode.CREATE, sql_last=START))
        await doorbell.answered(redis, bells)
        events = [Entry(Position(fence, seq), "CUSTOM", "run_1", "{}") for seq in (2, 3)]
        await append(redis, Batch(thread, fence, events))
    forced = [Entry(Position(3, 9), "CUSTOM", "run_1", "{}")]
    await append(redis, Batch(thread, 3, forced, Mode.FORCE))
    assert await redis.exists(events_key(thread))
    await Limiter(redis).count(Limit("requests", "ada", 1))
    about: dict[Any, Any] = {"load": 1}
    pipe = redis.pipeline(transaction=False)  # as a runner shows what it does
    pipe.hset(runner_key("runner-1"), mapping=about)
    pipe.expire(runner_key("runner-1"), 15)
    await pipe.execute()


async def test_a_conversation_leaves_no_key_that_is_not_in_the_table(redis: Redis) -> None:
    await _converse(redis)
    found = {bytes(key).decode(): await redis.ttl(key) async for key in redis.scan_iter()}
    seen = set()
    for key, life_s in found.items():
        (kind,) = (one for one in KEYS if re.fullmatch(_pattern(one.pattern), key))
        seen.add(kind.pattern)
        assert await redis.type(key) == kind.type.encode()
        assert (life_s == -1) == (kind.life == "permanent"), f"{key}: {life_s}"
    assert seen == {kind.pattern for kind in KEYS}
