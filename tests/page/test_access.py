"""Usable by keyboard, by screen readers, on phones, in the dark."""

from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from shared.protocol.ids import new_id
from stack.running import Stack
from stack.testing import JS
from tests.page.screen import Screen
from tests.page.test_chat import is_state

pytestmark = [pytest.mark.browser, pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

AXE = JS / "node_modules" / "axe-core" / "axe.min.js"

EVERYTHING = """Write

# One
## Two

| a | b |
|---|---|
| 1 | [two](https://example.com) |

```python
print("a very long line that does not fit on any phone, whatever one does with it, for sure")
```

> quote with `code` and averyveryveryverylongwordthatdoesnotfitonthephoneinonelineatall

1. one
   - nested
2. two"""


async def violations(page: Page) -> list[str]:
    """What axe finds wrong, in short."""
    await page.evaluate(AXE.read_text())
    found: dict[str, Any] = await page.evaluate("axe.run()")
    assert found["passes"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


async def fits(page: Page) -> None:
    """Nothing reaches beyond the screen sideways."""
    wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    log = page.get_by_role("log")
    assert await log.evaluate("e => e.scrollWidth - e.clientWidth") <= 0


async def with_everything(screen: Screen) -> None:
    await screen.say(EVERYTHING)
    await screen.say("Please set my display name to Ada in my profile")
    await screen.say("research tidal power")
    await screen.say("summarize the plot of Hamlet")
    await screen.say("hello [[fault=401]]")
    await screen.text()


@pytest.mark.node
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(stack: Stack, browser: Browser, scheme: str) -> None:
    url, email = stack.gateway_urls[0], f"{new_id('ada')}@example.com"
    screen = await Screen.open(browser, url, email, color_scheme=scheme, reduced_motion="reduce")
    page = screen.page
    await expect(page.get_by_label("E-mail")).to_be_visible()
    assert await violations(page) == []
    await screen.sign_in()
    assert await violations(page) == []
    await with_everything(screen)
    turn = await screen.send("[[deltas=300]] [[tokens_per_s=30]]")
    waiting = await screen.send("and then?")
    await is_state(waiting, "waiting")
    assert await violations(page) == []
    await page.keyboard.press("Escape")
    await is_state(turn, "stopped")
    await page.get_by_role("button", name="Edit this conversation").click()
    assert await violations(page) == []
    await page.keyboard.press("Escape")
    await page.set_viewport_size({"width": 360, "height": 700})
    assert await violations(page) == []
    await page.get_by_role("button", name="Show conversations").click()
    await expect(page.get_by_role("button", name="New chat")).to_be_in_viewport(ratio=1)
    assert await violations(page) == []
    await screen.close()
    assert screen.complaints == []


@pytest.mark.parametrize("width", [320, 390])
async def test_a_phone_needs_no_sideways_scrolling(
    stack: Stack, browser: Browser, width: int
) -> None:
    url, email = stack.gateway_urls[0], f"{new_id('ada')}@example.com"
    viewport = {"width": width, "height": 640}
    screen = await Screen.open(
        browser, url, email, viewport=viewport, has_touch=True, is_mobile=True
    )
    page = screen.page
    await expect(page.get_by_label("E-mail")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    await screen.sign_in()
    await fits(page)
    await with_everything(screen)
    await fits(page)
    drawer = page.get_by_role("navigation", name="Conversations")
    await expect(drawer).to_be_hidden()
    await page.get_by_role("button", name="Show conversations").tap()
    await expect(drawer.get_by_role("link")).to_be_in_viewport()
    await page.locator("#shade").tap(position={"x": width - 10, "y": 300})
    await expect(drawer).to_be_hidden()
    await page.get_by_role("button", name="Show conversations").tap()
    await page.get_by_role("button", name="New chat").tap()
    await expect(drawer).to_be_hidden()
    await screen.say("hello")
    await page.get_by_role("button", name="Show conversations").tap()
    await drawer.get_by_role("link").nth(1).tap()
    await expect(screen.turns).to_have_count(5)
    await expect(drawer).to_be_hidden()
    await screen.close()
    assert screen.complaints == []


async def test_everything_can_be_done_with_the_keyboard_alone(screen: Screen) -> None:
    page, keys = screen.page, screen.page.keyboard
    await expect(page.get_by_label("E-mail")).to_be_focused()
    await keys.type(screen.email)
    await keys.press("Enter")
    await screen.is_connected()
    await expect(screen.field).to_be_focused()
    await keys.type("what time")
    await keys.press("Shift+Enter")
    await keys.type("is it")
    await expect(screen.field).to_have_value("what time\nis it")
    await keys.press("Enter")
    await is_state(screen.turns.first, "done")
    await expect(screen.field).to_be_focused()
    await expect(screen.field).to_have_value("")

    await keys.type("what time is it")
    await keys.press("Enter")
    await is_state(screen.turns.nth(1), "done")
    summary = screen.turns.nth(1).locator("details.call > summary")
    await tab_to(page, "details.call > summary", back=True)
    await expect(summary).to_be_focused()
    await keys.press("Enter")
    await expect(screen.turns.nth(1).get_by_role("group", name="Result")).to_be_visible()

    await screen.field.focus()
    await keys.type("[[deltas=300]] [[tokens_per_s=20]]")
    await keys.press("Enter")
    await expect(screen.turns.nth(2).locator(".text")).to_contain_text("word3 ")
    await keys.press("Escape")
    await is_state(screen.turns.nth(2), "stopped")

    await page.reload()
    await screen.is_connected()
    await expect(screen.field).to_be_focused()
    await tab_to(page, "#skip", back=True)
    await keys.press("Enter")
    await expect(screen.field).to_be_focused()
    assert "#/thr_" in page.url
    await tab_to(page, "#new", back=True)
    await keys.press("Enter")
    await expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    await expect(screen.field).to_be_focused()
    await tab_to(page, "#thread-list a", back=True)
    await keys.press("Tab")
    await keys.press("Enter")
    await expect(page.get_by_label("Title")).to_be_focused()
    await keys.type("Clocks")
    await keys.press("Enter")
    await expect(screen.threads).to_have_text(["Clocks"])


async def tab_to(page: Page, selector: str, *, back: bool = False) -> None:
    """Press Tab until the focus is there; each stop on the way must be seen to have it."""
    for _ in range(30):
        await page.keyboard.press("Shift+Tab" if back else "Tab")
        focused = page.locator(":focus")
        outline = await focused.evaluate("e => getComputedStyle(e).outlineStyle + e.id")
        assert outline.startswith(("solid", "auto")) or outline == "nonedraft"
        if await page.locator(f"{selector}:focus").count():
            return
    raise AssertionError(f"Tab never came to {selector}")


async def test_enter_that_chooses_a_word_does_not_send(ada: Screen) -> None:
    await ada.field.fill("こんにちは")
    for facts in ("{isComposing: true}", "{keyCode: 229}"):
        await ada.field.evaluate(
            f"e => e.dispatchEvent(new KeyboardEvent('keydown', {{key: 'Enter', bubbles: true,"
            f" cancelable: true, ...{facts}}}))"
        )
    await expect(ada.turns).to_have_count(0)
    await ada.field.press("Enter")
    await is_state(ada.turns.first, "done")


async def test_motion_stops_where_it_is_not_wanted(stack: Stack, browser: Browser) -> None:
    email = f"{new_id('ada')}@example.com"
    screen = await Screen.open(browser, stack.gateway_urls[0], email, reduced_motion="reduce")
    await screen.sign_in()
    turn = await screen.send("[[deltas=300]] [[tokens_per_s=20]]")
    await expect(turn.locator(".dots i").first).to_have_css("animation-name", "none")
    await screen.page.keyboard.press("Escape")
    await is_state(turn, "stopped")
    await screen.close()


async def test_code_can_be_copied(ada: Screen) -> None:
    await ada.context.grant_permissions(["clipboard-read", "clipboard-write"])
    turn = await ada.say("Repeat\n\n```js\nlet a = 1 < 2;\n```\n\nplease")
    await turn.get_by_role("button", name="Copy").first.click()
    await expect(turn.get_by_role("button", name="Copied")).to_be_visible()
    assert await ada.page.evaluate("navigator.clipboard.readText()") == "let a = 1 < 2;"
