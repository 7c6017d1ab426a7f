"""The page asks the person before an agent does something, and passes on what they decide."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from stack.program import ROOT
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.page.screen import Screen
from tests.page.test_access import fits, violations

pytestmark = [pytest.mark.browser, pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

AGENTS = ROOT / "tests" / "fixtures" / "asking"
TWO = '[[tool=send {"to": "ada"}]] [[tool=send {"to": "bob"}]] [[tool=look {"what": "x"}]]'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    with stores.database() as url:
        stores.empty_redis()
        env = {"BATON_AGENTS_HOME": str(AGENTS)}
        async with running_stack(demo=True, database_url=url, env=env) as started:
            yield started


async def asks(screen: Screen, text: str) -> Locator:
    turn = await screen.send(text)
    await expect(turn).to_have_attribute("data-state", "asking")
    return turn


def question(turn: Locator, about: str) -> Locator:
    return turn.get_by_role("group", name="Approval").filter(has_text=about)


def state_of(turn: Locator, tool: str, arguments: str) -> Locator:
    card = turn.locator("details.call").filter(has_text=tool).filter(has_text=arguments)
    return card.locator(".tool-state")


async def test_approve_one_and_reject_the_other_after_a_reload_in_another_tab(
    ada: Screen,
) -> None:
    turn = await asks(ada, TWO)
    await expect(turn.get_by_role("group", name="Approval")).to_have_count(2)
    await expect(state_of(turn, "look", "x")).to_have_text("done")
    await expect(state_of(turn, "send", "ada")).to_have_text("asks you")
    to_ada = question(turn, '"ada"')
    await expect(to_ada).to_contain_text("Mailer asks whether it may call send.")
    await to_ada.get_by_role("button", name="Approve").click()
    await expect(to_ada.get_by_role("status")).to_have_text("Approved")

    tab = await ada.second_tab()
    turn = tab.turns.first
    await expect(question(turn, '"ada"').get_by_role("status")).to_have_text("Approved")
    to_bob = question(turn, '"bob"')
    await to_bob.get_by_label("What the agent is told if you reject").fill("Bob is away.")
    await to_bob.get_by_role("button", name="Reject").click()
    for screen in (tab, ada):
        turn = screen.turns.first
        await expect(turn).to_have_attribute("data-state", "done")
        await expect(turn.get_by_role("group", name="Approval")).to_have_count(0)
        await expect(state_of(turn, "send", "ada")).to_have_text("done")
        await expect(state_of(turn, "send", "bob")).to_have_text("failed")
        await screen.shows("Bob is away.")

    await ada.page.reload()
    await ada.is_connected()
    await expect(ada.turns).to_have_count(1)
    await expect(ada.turns.first).to_have_attribute("data-state", "done")
    await ada.shows("sent to ada")
    await ada.shows("Bob is away.")
    assert tab.complaints == []


async def test_what_is_said_meanwhile_waits_and_is_answered_after_it(ada: Screen) -> None:
    turn = await asks(ada, '[[tool=send {"to": "ada"}]]')
    badge = ada.page.locator("#thread-list [aria-current] .busy")
    await expect(badge).to_have_text("asks you")
    later = await ada.send("hello")
    await expect(badge).to_have_text("asks you")
    await expect(later.locator(".foot")).to_contain_text("Waiting until you have decided above")
    address = ada.page.url
    await ada.page.goto(address.partition("#")[0] + "#/")
    await ada.page.reload()
    await ada.is_connected()
    listed = ada.page.locator("#thread-list li").first
    await expect(listed.locator(".busy")).to_have_text("asks you")
    await listed.get_by_role("link").click()
    await expect(ada.page).to_have_url(address)
    turn, later = ada.turns.first, ada.turns.nth(1)
    await expect(turn).to_have_attribute("data-state", "asking")
    await question(turn, "send").get_by_role("button", name="Approve").press("Enter")
    await expect(turn).to_have_attribute("data-state", "done")
    await expect(later).to_have_attribute("data-state", "done")
    await expect(ada.turns).to_have_count(2)
    await expect(turn.locator(".text")).to_have_text(re.compile("."))


@pytest.mark.parametrize("width", [390, 1280])
async def test_a_question_can_be_read_by_everybody(ada: Screen, width: int) -> None:
    await ada.page.emulate_media(reduced_motion="reduce")
    turn = await asks(ada, TWO)
    await question(turn, '"bob"').get_by_role("button", name="Approve").click()
    await expect(state_of(turn, "send", "bob")).to_have_text("approved")
    await ada.page.set_viewport_size({"width": width, "height": 780})
    await expect(question(turn, '"bob"')).to_be_in_viewport()
    assert await violations(ada.page) == []
    await fits(ada.page)
