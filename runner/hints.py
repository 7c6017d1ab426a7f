"""Hints: toolsvc tells a runner at once of a cancel. A lost hint costs a second, no more.

The heartbeat brings the same news, so this may be missing at any time.
"""

import asyncio
from collections.abc import Callable
from uuid import UUID

from shared.bus.connect import AWAY, Redis
from shared.bus.keys import runner_key
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

_PAUSE_S = 1.0


async def listen_for_cancels(redis: Redis, runner: str, cancel: Callable[[UUID], None]) -> None:
    """Pass on cancels until this task is cancelled."""
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(runner_key(runner))
                async for message in channel.listen():
                    if message["type"] == "message":
                        _pass_on(message["data"], cancel)
        except AWAY as error:
            log.info("no hints for now", error=str(error))
        await asyncio.sleep(_PAUSE_S)


def _pass_on(data: bytes, cancel: Callable[[UUID], None]) -> None:
    word, _, run = data.partition(b" ")
    try:
        if word == b"cancel":
            cancel(UUID(run.decode()))
    except ValueError:
        log.warning("a hint made no sense")
