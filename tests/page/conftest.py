"""A stack and a browser for a module; every test gets somebody new, in a window of their own."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from shared.protocol.ids import new_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from stack.testing import find_browser
from tests.page.screen import Screen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(runners=2, demo=True, database_url=url) as started:
            yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # Chromium refuses its own sandbox to root, which CI mostly is.
        started = await playwright.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield started
        await started.close()


@pytest_asyncio.fixture(loop_scope="module")
async def screen(stack: Stack, browser: Browser) -> AsyncIterator[Screen]:
    """The page, before anybody has signed in; it must not complain."""
    opened = await Screen.open(browser, stack.gateway_urls[0], f"{new_id('ada')}@example.com")
    yield opened
    await opened.close()
    assert opened.complaints == []


@pytest_asyncio.fixture(loop_scope="module")
async def ada(screen: Screen) -> Screen:
    """The page of somebody new, signed in and connected."""
    await screen.sign_in()
    return screen
