"""Hints: toolsvc tells a runner at once of a cancel, or of a run that is for it alone.

The heartbeat brings the same news, and toolsvc says it again; so a hint may be missing at any time.
"""

import asyncio
from collections.abc import Callable, Mapping
from uuid import UUID

from shared.bus.connect import AWAY, Redis
from shared.bus.keys import runner_key
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

_PAUSE_S = 1.0

#: What to do with the run that a hint names, by the hint's first word.
Hints = Mapping[bytes, Callable[[UUID], None]]


async def listen_for_hints(redis: Redis, runner: str, hints: Hints) -> None:
    """Pass on hints until this task is cancelled."""
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(runner_key(runner))
                async for message in channel.listen():
                    if message["type"] == "message":
                        _pass_on(message["data"], hints)
        except AWAY as error:
            log.info("no hints for now", error=str(error))
        await asyncio.sleep(_PAUSE_S)


def _pass_on(data: bytes, hints: Hints) -> None:
    word, _, run = data.partition(b" ")
    try:
        if word in hints:
            hints[word](UUID(run.decode()))
    except ValueError:
        log.warning("a hint made no sense")
