"""Waiting for facts, never for time."""

import asyncio
from collections.abc import Awaitable, Callable

#: Long enough for a busy machine; whoever waits that long has failed.
PATIENCE_S = 60.0
_STEP_S = 0.005


async def until(fact: Callable[[], Awaitable[object]], *, within_s: float = PATIENCE_S) -> None:
    """Return once `fact` answers with something true."""
    async with asyncio.timeout(within_s):
        while not await fact():  # noqa: ASYNC110 - stores tell nobody when a fact comes true
            await asyncio.sleep(_STEP_S)
