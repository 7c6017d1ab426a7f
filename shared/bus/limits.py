"""Limits of so many calls a minute, counted in Redis for all processes together.

A limit never takes the service down: while Redis cannot count, everything passes. A call that is
refused counts too, but a minute begins with its first call, and ends whatever comes.
"""

import asyncio
import time
from typing import NamedTuple

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter

from shared.bus.connect import AWAY, Redis
from shared.bus.keys import LIMIT_PREFIX
from shared.errors import RateLimitedError
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import LIMITED

log = get_logger(__name__)

#: Nobody waits longer to be counted.
PATIENCE_S = 0.25
#: After Redis could not count, nothing is counted for so long.
PAUSE_S = 1.0


class Limit(NamedTuple):
    """At most so many calls of a kind (`tool_calls`) a minute, by `whose` names; 0: any number."""

    what: str
    whose: str
    per_minute: int


class Limiter:
    """Counts calls; its connections are those of `redis`, and closed with it."""

    def __init__(self, redis: Redis) -> None:
        storage = RedisStorage(
            "redis://",
            implementation="redispy",
            key_prefix=LIMIT_PREFIX,
            connection_pool=redis.connection_pool,  # type: ignore[arg-type]
        )
        self._windows = FixedWindowRateLimiter(storage)
        self._again_at = 0.0

    async def count(self, *limits: Limit) -> None:
        """Count a call under each of these.

        Raises:
            RateLimitedError: one of them is used up.
        """
        for limit in limits:
            if limit.per_minute and time.monotonic() >= self._again_at:
                await self._count(limit)

    async def _count(self, limit: Limit) -> None:
        item = RateLimitItemPerMinute(limit.per_minute, namespace=limit.what)
        try:
            async with asyncio.timeout(PATIENCE_S):
                if await self._windows.hit(item, limit.whose):
                    return
                ends_at = (await self._windows.get_window_stats(item, limit.whose)).reset_time
        except (*AWAY, TimeoutError) as error:
            self._again_at = time.monotonic() + PAUSE_S
            log.warning("calls are not counted, for Redis is away", error=str(error))
            return
        LIMITED.labels(limit.what).inc()
        wait_s = min(max(ends_at - time.time(), 1), 60)
        words = limit.what.replace("_", " ")
        raise RateLimitedError(
            f"More than {limit.per_minute:,} {words} a minute; wait {wait_s:.0f} s.",
            retry_after_s=wait_s,
        )
