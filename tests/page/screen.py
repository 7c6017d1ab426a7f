"""The page as a person sees it; what a test asks for is waited for."""

import re
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

#: A model, a runner and a browser may all be busy.
PATIENCE_MS = 20_000
OVER = re.compile("done|failed|stopped")
expect.set_options(timeout=PATIENCE_MS)


class Screen:
    """One window on the page. `complaints` collects errors of scripts and of the console."""

    def __init__(self, context: BrowserContext, page: Page, url: str, email: str) -> None:
        self.context, self.page, self.url, self.email = context, page, url, email
        self.complaints: list[str] = []
        self.watch(page)
        self.turns = page.locator(".turn")
        self.field = page.get_by_label("Message", exact=True)
        self.connection = page.locator("#connection")
        self.threads = page.locator("#thread-list .thread-name")

    @classmethod
    async def open(cls, browser: Browser, url: str, email: str, **options: Any) -> "Screen":
        """A window of its own, with cookies of its own."""
        context = await browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()
        screen = cls(context, page, url, email)
        await page.goto(url)
        return screen

    async def second_tab(self) -> "Screen":
        """Another tab of the same window, showing the same address."""
        tab = Screen(self.context, await self.context.new_page(), self.url, self.email)
        await tab.page.goto(self.page.url)
        await tab.is_connected()
        return tab

    async def close(self) -> None:
        await self.context.close()

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._heard)
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def _heard(self, message: ConsoleMessage) -> None:
        # That nobody is signed in, or that a gateway is away, Chromium reports by itself.
        expected = ("Failed to load resource", "WebSocket connection to")
        if message.type in ("error", "warning") and not message.text.startswith(expected):
            self.complaints.append(message.text)

    # ------------------------------------------------------------------ doing
    async def sign_in(self) -> None:
        await self.page.get_by_label("E-mail").fill(self.email)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.is_connected()

    async def send(self, text: str) -> Locator:
        """Write a message and send it; the turn it begins."""
        count = await self.turns.count()
        await self.field.fill(text)
        await self.field.press("Enter")
        await expect(self.turns).to_have_count(count + 1)
        return self.turns.nth(count)

    async def say(self, text: str) -> Locator:
        """Send a message and wait for the end of its run."""
        turn = await self.send(text)
        await expect(turn).to_have_attribute("data-state", OVER)
        return turn

    # ------------------------------------------------------------------ seeing
    async def is_connected(self) -> None:
        await expect(self.connection).to_have_attribute("data-state", "connected")

    async def text(self) -> str:
        """All that the conversation shows, also what is folded away."""
        folded = self.page.locator(".turn details:not([open]) > summary")
        while await folded.count():
            await folded.first.click()
        return await self.page.locator("#turns").inner_text()

    async def shows(self, text: str | re.Pattern[str]) -> None:
        await expect(self.page.locator("#turns")).to_contain_text(text)

    async def thread(self) -> dict[str, Any]:
        """The thread shown, as the gateway has it: its id, and the roles of its messages."""
        id_ = self.page.url.partition("#/")[2]
        answer = await self.context.request.get(f"{self.url}/api/threads/{id_}/messages")
        return {"id": id_, "messages": [one["role"] for one in (await answer.json())["data"]]}
