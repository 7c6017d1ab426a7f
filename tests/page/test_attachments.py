"""Files on the page: chosen, pasted or dropped, shown beside what is said, and downloaded."""

import base64

import pytest
from playwright.async_api import FilePayload, expect

from tests.gateway.api.test_files import PNG
from tests.page.screen import Screen
from tests.page.test_access import violations

pytestmark = [pytest.mark.browser, pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

#: Puts a file where a person would have it in the clipboard, or below the pointer.
GIVE = """([kind, data]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], `${kind}.png`, { type: "image/png" }));
  const target = document.getElementById(kind === "paste" ? "draft" : "chat");
  const about = { bubbles: true, cancelable: true };
  target.dispatchEvent(kind === "paste"
    ? new ClipboardEvent("paste", { ...about, clipboardData: carried })
    : new DragEvent("drop", { ...about, dataTransfer: carried }));
}"""
LARGE = 11 * 1_048_576


async def test_files_are_brought_shown_sent_and_downloaded(ada: Screen) -> None:
    page = ada.page
    waiting = page.get_by_role("list", name="Files to be sent").get_by_role("listitem")
    files: list[FilePayload] = [
        {"name": "cat.png", "mimeType": "image/png", "buffer": PNG},
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"milk"},
    ]
    await page.locator("#file").set_input_files(files)
    for kind in ("paste", "drop"):
        await page.evaluate(GIVE, [kind, base64.b64encode(PNG).decode()])
    await expect(waiting).to_have_count(4)
    await expect(page.locator(".attachment[data-state=ready]")).to_have_count(4)
    await page.get_by_role("button", name="Remove paste.png").click()
    await expect(waiting).to_have_count(3)
    assert await violations(page) == []
    turn = await ada.say("Look at these")
    await expect(waiting).to_have_count(0)
    bubble = turn.locator(".bubble")
    await expect(bubble).to_contain_text("Look at these")
    shown = bubble.get_by_role("link")
    await expect(shown).to_have_text(["cat.png", "notes.txt", "drop.png"])
    picture = bubble.locator("img").first
    await expect(picture).to_have_js_property("naturalWidth", 1)
    await expect(turn.locator(".text")).to_contain_text("[picture]")
    async with page.expect_download() as downloading:
        await shown.nth(1).click()
    assert (await downloading.value).suggested_filename == "notes.txt"
    assert await violations(page) == []
    before = await ada.text()
    await page.reload()
    await ada.is_connected()
    await expect(ada.turns).to_have_count(1)
    assert await ada.text() == before


async def test_a_file_alone_is_a_message_and_one_too_large_is_refused_in_words(
    ada: Screen,
) -> None:
    page = ada.page
    send = page.get_by_role("button", name="Send")
    await expect(send).to_be_disabled()
    large: FilePayload = {"name": "film.bin", "mimeType": "video/mp4", "buffer": b"\x00" * LARGE}
    await page.locator("#file").set_input_files([large])
    await expect(page.locator("#toast")).to_have_text(
        "film.bin: A file may have 10,485,760 bytes at most."
    )
    await expect(page.locator(".attachment")).to_have_count(0)
    cat: FilePayload = {"name": "cat.png", "mimeType": "image/png", "buffer": PNG}
    await page.locator("#file").set_input_files([cat])
    await expect(send).to_be_enabled()
    await send.click()
    await expect(ada.threads).to_have_text(["cat.png"])
    await expect(ada.turns.first.locator(".bubble img")).to_be_visible()
    await expect(ada.turns.first).to_have_attribute("data-state", "done")
