"""toolsvc's record over real stores; tests of tools have a `rig` of their own."""

from collections.abc import AsyncIterator

import pytest_asyncio

from shared.protocol.record import ClaimedRun
from tests.toolsvc.record_rig import RecordRig, opened


@pytest_asyncio.fixture
async def rig(database_url: str, redis_url: str) -> AsyncIterator[RecordRig]:
    async with opened(database_url, redis_url) as made:
        yield made


@pytest_asyncio.fixture
async def claimed(rig: RecordRig) -> ClaimedRun:
    """A run at its first claim."""
    await rig.run(await rig.person())
    return await (await rig.runner()).claim()
