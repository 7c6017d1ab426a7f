"""One stack for a module of stories: two gateways, two runners, real stores, the demo model."""

from collections.abc import AsyncIterator

import pytest_asyncio

from shared.protocol.ids import new_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Person


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(gateways=2, runners=2, demo=True, database_url=url) as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def ada(stack: Stack) -> AsyncIterator[Person]:
    """A new person, signed in at the first gateway."""
    person = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    yield person
    await person.http.aclose()
