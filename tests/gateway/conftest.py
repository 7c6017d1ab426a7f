"""A gateway inside the test's own loop, on real stores; requests take ASGI's short way."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from shared.settings import GatewaySettings
from tests.gateway.rig import Rig, gateway_settings, opened_rig
from tests.until import until


@pytest.fixture
def settings(database_url: str, redis_url: str) -> GatewaySettings:
    return gateway_settings(database_url, redis_url)


@pytest_asyncio.fixture
async def rig(settings: GatewaySettings) -> AsyncIterator[Rig]:
    async with opened_rig(settings) as opened:

        async def relays() -> bool:
            return opened.services.redis_ready()

        await until(relays)
        yield opened


@pytest_asyncio.fixture
async def ada(rig: Rig) -> httpx.AsyncClient:
    """A client with Ada's cookie."""
    return await rig.sign_in("ada@example.com")


@pytest_asyncio.fixture
async def bob(rig: Rig) -> httpx.AsyncClient:
    """A client with Bob's cookie."""
    return await rig.sign_in("bob@example.com")
