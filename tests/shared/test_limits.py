"""Calls are counted for all processes together; who cannot count lets everything pass."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from shared.bus.connect import Redis, commands_client
from shared.bus.limits import Limit, Limiter
from shared.errors import RateLimitedError

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

TWICE = Limit("requests", "ada", 2)


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = commands_client(redis_url, "baton-test")
    yield client
    await client.aclose()


async def test_all_processes_count_together_and_everybody_apart(redis: Redis) -> None:
    one, other = Limiter(redis), Limiter(redis)
    await one.count(TWICE, Limit("tool_calls", "ada", 1))
    await other.count(TWICE)
    with pytest.raises(RateLimitedError, match="More than 2 requests a minute") as refused:
        await one.count(TWICE)
    assert 1 <= refused.value.retry_after_s <= 60
    await one.count(TWICE._replace(whose="eve"))
    with pytest.raises(RateLimitedError, match="tool calls"):
        await other.count(Limit("tool_calls", "ada", 1))


async def test_what_is_counted_has_an_end(redis: Redis) -> None:
    await Limiter(redis).count(TWICE)
    key: Any
    (key,) = await redis.keys("*")
    assert key.startswith(b"limit:")
    assert 0 < await redis.ttl(key) <= 60


async def test_no_limit_is_not_counted(redis: Redis) -> None:
    for _ in range(3):
        await Limiter(redis).count(Limit("requests", "ada", 0))
    assert await redis.keys("*") == []


async def test_without_redis_everything_passes() -> None:
    away = commands_client("redis://127.0.0.1:9", "baton-test")
    limiter = Limiter(away)
    for _ in range(3):
        await limiter.count(Limit("requests", "ada", 1))
    await away.aclose()
