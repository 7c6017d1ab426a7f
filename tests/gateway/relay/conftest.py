"""A relay on real stores, for the tests of this folder."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.relay import relay
from tests.gateway.relay.rig import RelayRig, running_relay


@pytest_asyncio.fixture
async def rig(redis_url: str, database_url: str) -> AsyncIterator[RelayRig]:
    async with running_relay(redis_url, database_url) as running:
        yield running


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "LOOK_EVERY_S", 0.05)
