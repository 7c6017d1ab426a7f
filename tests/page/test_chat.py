"""What a person does with the page, from signing in to stopping an answer."""

import json
import re

import pytest
from playwright.async_api import Locator, expect

from stack.running import Stack
from tests.page.screen import Screen

pytestmark = [pytest.mark.browser, pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]


async def profile(screen: Screen) -> dict[str, str]:
    answer = await screen.context.request.get(f"{screen.url}/api/me")
    found: dict[str, str] = await answer.json()
    return found


async def is_state(turn: Locator, state: str) -> None:
    await expect(turn).to_have_attribute("data-state", state)


async def test_sign_in_say_hello_and_change_the_profile(screen: Screen) -> None:
    await screen.sign_in()
    await expect(screen.page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    turn = await screen.say("hello")
    await expect(turn.locator(".text")).to_contain_text("I am Baton's demo model")
    await expect(screen.threads).to_have_text(["hello"])
    turn = await screen.say("Please set my display name to Ada in my profile")
    card = turn.locator("details.call")
    await expect(card.locator("summary")).to_have_text(re.compile("update_profile.*done"))
    await expect(card.get_by_text('"display_name": "Ada"').first).to_be_hidden()
    await card.locator("summary").click()
    await expect(card.get_by_role("group", name="Arguments")).to_have_text(
        json.dumps({"display_name": "Ada"}, indent=2)
    )
    await expect(card.get_by_role("group", name="Result")).to_contain_text('"display_name": "Ada"')
    await expect(turn.locator(".text")).to_contain_text("your display name is now Ada")
    assert (await profile(screen))["displayName"] == "Ada"


async def test_an_answer_is_seen_while_it_is_written(ada: Screen) -> None:
    turn = await ada.send("[[deltas=60]] [[tokens_per_s=20]]")
    await expect(turn.locator(".text")).to_contain_text("word5 ")
    await is_state(turn, "running")
    await expect(turn.locator(".text")).not_to_contain_text("word60")
    await expect(ada.page.locator("#thread-list .busy")).to_be_visible()
    await is_state(turn, "done")
    await expect(turn.locator(".text")).to_contain_text(words(60))
    await expect(ada.page.locator("#thread-list .busy")).to_be_hidden()


def words(count: int) -> str:
    return " ".join(f"word{number}" for number in range(1, count + 1))


async def test_hand_offs_thoughts_and_agents_inside_tools_are_shown(ada: Screen) -> None:
    turn = await ada.say("research tidal power")
    await expect(turn.locator(".hand-off")).to_have_text("Handed over to Researcher")
    await expect(turn.locator("details.call")).to_have_count(0)
    thoughts = turn.locator("details.reasoning")
    await expect(thoughts.get_by_text("The user wants to know")).to_be_hidden()
    await thoughts.locator("summary").click()
    await expect(thoughts.get_by_text("The user wants to know")).to_be_visible()
    turn = await ada.say("summarize the plot of Hamlet")
    await turn.locator("details.call > summary").click()
    inner = turn.locator("details.call .sub-agent")
    await expect(inner).to_contain_text("Agent Summarizer")
    await expect(inner).to_contain_text("In short: the plot of Hamlet.")
    await expect(turn.locator(":scope > .items > .text")).to_have_count(1)


async def test_a_reload_shows_the_same(ada: Screen) -> None:
    for text in ("hello", "do both", "research tidal power", "summarize the plot of Hamlet"):
        await ada.say(text)
    await ada.say("hello [[fault=401]]")
    stopped = await ada.send("[[deltas=300]] [[tokens_per_s=20]]")
    await expect(stopped.locator(".text")).to_contain_text("word3 ")
    await ada.page.keyboard.press("Escape")
    await is_state(stopped, "stopped")
    before = await ada.text()
    await ada.field.fill("half a thought")
    await ada.page.reload()
    await ada.is_connected()
    await expect(ada.turns).to_have_count(6)
    await is_state(ada.turns.last, "stopped")
    await expect(ada.page.locator(".sub-agent")).to_have_count(1)
    assert await ada.text() == before
    await expect(ada.field).to_have_value("half a thought")


async def test_an_answer_is_stopped_in_the_middle(ada: Screen) -> None:
    for press in ("Stop", "Escape"):
        turn = await ada.send("[[deltas=300]] [[tokens_per_s=20]]")
        await expect(turn.locator(".text")).to_contain_text("word3 ")
        if press == "Stop":
            await ada.page.get_by_role("button", name="Stop").click()
        else:
            await ada.page.keyboard.press("Escape")
        await is_state(turn, "stopped")
        await expect(turn.locator(".text")).to_contain_text("word3 ")
        await expect(turn.locator(".text")).not_to_contain_text("word300")
        await expect(ada.page.get_by_role("button", name="Stop")).to_be_hidden()


async def test_an_error_says_why_and_a_retry_does_not_double_the_message(ada: Screen) -> None:
    await ada.say("hello")
    # The runner asks a failing server three times, so the fourth call is the retry's.
    text = "good morning [[fault=nonsense times=1]]"
    turn = await ada.say(text)
    await expect(turn.locator(".failure")).to_contain_text("upstream_invalid")
    await expect(turn.locator(".failure")).to_contain_text("makes no sense")
    await turn.get_by_role("button", name="Retry").dblclick()
    await expect(ada.turns).to_have_count(3)
    await is_state(ada.turns.last, "done")
    await expect(ada.turns.last.locator(".text")).to_contain_text("demo model")
    for _ in range(2):
        await expect(ada.page.locator(".bubble")).to_have_text(
            [re.compile("hello"), re.compile(text[:9])]
        )
        await expect(ada.page.locator(".failure")).to_have_count(1)
        await expect(ada.page.get_by_role("button", name="Retry")).to_have_count(0)
        await ada.page.reload()
        await expect(ada.turns).to_have_count(3)


async def test_a_tool_without_a_result_does_not_seem_to_run(ada: Screen) -> None:
    turn = await ada.say('[[tool=save_note {"nope": 1}]]')
    await is_state(turn, "failed")
    await expect(turn.locator("details.call > summary")).to_have_text(
        re.compile("save_note.*no result")
    )
    await expect(turn.locator(".failure")).to_contain_text("nope")


async def test_a_failure_that_the_model_was_told_of_does_not_seem_done(ada: Screen) -> None:
    turn = await ada.say('[[tool=update_profile {"colour": "red"}]]')
    await is_state(turn, "done")
    call = ada.page.locator("details.call > summary")
    await expect(call).to_have_text(re.compile("update_profile.*failed"))
    await ada.page.reload()
    await expect(call).to_have_text(re.compile("update_profile.*failed"))


async def test_what_is_written_meanwhile_waits_and_can_be_withdrawn(ada: Screen) -> None:
    first = await ada.send("[[deltas=60]] [[tokens_per_s=15]]")
    await expect(first.locator(".text")).to_contain_text("word3 ")
    second = await ada.send("hello")
    await is_state(second, "waiting")
    third = await ada.send("never mind")
    await is_state(third, "waiting")
    tab = await ada.second_tab()
    for state, turn in zip(("running", "waiting", "waiting"), range(3), strict=True):
        await is_state(tab.turns.nth(turn), state)
    await third.get_by_role("button", name="Withdraw").click()
    await is_state(third, "stopped")
    await is_state(tab.turns.nth(2), "stopped")
    await is_state(second, "done")
    await is_state(first, "done")
    await is_state(tab.turns.nth(1), "done")
    assert await tab.text() == await ada.text()


async def test_two_tabs_agree(ada: Screen) -> None:
    await ada.say("hello")
    tab = await ada.second_tab()
    await expect(tab.turns).to_have_count(1)
    turn = await ada.send("[[deltas=30]] [[tokens_per_s=20]]")
    await expect(tab.turns.nth(1).locator(".text")).to_contain_text("word3 ")
    await is_state(tab.turns.nth(1), "done")
    await is_state(turn, "done")
    await tab.say("what time is it")
    await is_state(ada.turns.nth(2), "done")
    assert await tab.text() == await ada.text()


async def test_threads_are_listed_renamed_and_deleted_in_all_tabs(ada: Screen) -> None:
    await ada.say("what time is it")
    await ada.page.get_by_role("button", name="New chat").click()
    await ada.say("hello")
    tab = await ada.second_tab()
    await expect(tab.threads).to_have_text(["hello", "what time is it"])
    await ada.page.get_by_role("button", name="Rename or delete “hello”").click()
    await ada.page.get_by_label("Title").fill("Greetings <b>")
    await ada.page.get_by_role("button", name="Save").click()
    await expect(ada.threads.first).to_have_text("Greetings <b>")
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Greetings <b>")
    await expect(tab.page).to_have_title("Greetings <b> · Baton")
    await ada.page.get_by_role("button", name="Rename or delete “Greetings <b>”").click()
    await ada.page.get_by_role("button", name="Delete", exact=True).click()
    await ada.page.get_by_role("button", name="Really delete?").click()
    await expect(ada.threads).to_have_text(["what time is it"])
    await expect(tab.threads).to_have_text(["what time is it"])


async def test_a_long_list_and_a_long_conversation_come_in_parts(ada: Screen) -> None:
    request = ada.context.request
    for number in range(45):
        body = {"agent": "Assistant", "title": f"Thread {number:02}"}
        assert (await request.post(f"{ada.url}/api/threads", data=body)).ok
    await ada.page.reload()
    await expect(ada.threads.first).to_have_text("Thread 44")
    await ada.page.locator("#thread-scroller").evaluate("e => e.scrollTo(0, e.scrollHeight)")
    await expect(ada.threads).to_have_count(45)
    await expect(ada.threads.last).to_have_text("Thread 00")
    thread = (await (await request.get(f"{ada.url}/api/threads?limit=1")).json())["data"][0]["id"]
    for number in range(20):
        message = {"id": f"msg_{number}", "role": "user", "content": f"what time is it {number}"}
        run = {"input": {"messages": [message]}}
        assert (await request.post(f"{ada.url}/api/threads/{thread}/runs", data=run)).ok
    await ada.page.goto(f"{ada.url}/#/{thread}")
    await expect(ada.page.locator(".bubble").last).to_have_text(re.compile("is it 19"))
    await is_state(ada.turns.last, "done")
    await ada.page.reload()
    await expect(ada.page.get_by_role("button", name="Show earlier messages")).to_be_visible()
    await expect(ada.turns.last).to_be_in_viewport()
    await ada.page.get_by_role("button", name="Show earlier messages").press("Enter")
    await ada.shows("what time is it 5")
    while await ada.page.get_by_role("button", name="Show earlier messages").is_visible():
        await ada.page.get_by_role("button", name="Show earlier messages").press("Enter")
        await expect(ada.page.locator("#earlier")).to_be_enabled()
    await expect(ada.turns).to_have_count(20)
    await expect(ada.page.locator("details.call")).to_have_count(20)


async def test_the_screen_follows_only_at_its_end(ada: Screen) -> None:
    await ada.page.set_viewport_size({"width": 800, "height": 500})
    await ada.say("[[large=4000]]")
    log = ada.page.get_by_role("log")
    turn = await ada.send("[[deltas=400]] [[tokens_per_s=60]]")
    await expect(turn.locator(".text")).to_contain_text("word20 ")
    await expect(turn.locator(".working")).to_be_in_viewport()
    await log.evaluate("e => e.scrollTo(0, 0)")
    await expect(ada.page.get_by_role("button", name="Newest")).to_be_visible()
    await expect(turn.locator(".text")).to_contain_text("word120 ")
    assert await log.evaluate("e => e.scrollTop") == 0
    await ada.page.get_by_role("button", name="Newest").click()
    await expect(turn.locator(".working")).to_be_in_viewport()
    await ada.page.keyboard.press("Escape")
    await is_state(turn, "stopped")
    await expect(turn.locator(".note")).to_be_in_viewport()


HOSTILE = (
    "<img src=x onerror=alert(1)> <script>alert(1)</script> [click](javascript:alert(1)) "
    "![pixel](https://example.com/pixel.png) <svg onload=alert(1)> **bold**"
)


async def test_nothing_that_anybody_writes_becomes_a_script(ada: Screen) -> None:
    requested: list[str] = []
    ada.page.on("request", lambda request: requested.append(request.url))
    turn = await ada.say(f"[[tool=echo_context {json.dumps({'text': HOSTILE})}]]")
    await is_state(turn, "done")
    answer = turn.locator(":scope > .items > .text")
    await expect(answer).to_contain_text("<img src=x onerror=alert(1)>")
    await expect(answer.locator("strong").first).to_have_text("bold")
    await expect(answer.get_by_role("link", name="Image: pixel").first).to_have_attribute(
        "rel", re.compile("noopener")
    )
    await turn.locator("details.call > summary").click()
    await expect(turn.get_by_role("group", name="Result")).to_contain_text("<script>")
    thread = ada.page.url.partition("#/")[2]
    await ada.context.request.patch(
        f"{ada.url}/api/threads/{thread}", data={"title": "<img src=x onerror=alert(1)>"}
    )
    await expect(ada.page.get_by_role("heading", level=1)).to_have_text(re.compile("^<img"))
    assert await ada.page.locator("#turns img, #turns script, #turns svg").count() == 0
    assert await ada.page.locator("[href^='javascript']").count() == 0
    assert not [url for url in requested if not url.startswith((ada.url, "ws:"))]
    # `complaints` would hold the alert, or what the policy had to stop.


async def test_the_page_is_served_with_headers_that_hold_scripts_in(
    stack: Stack, screen: Screen
) -> None:
    for path in ("/", "/page/app.js", "/page/style.css"):
        answer = await screen.context.request.get(stack.gateway_urls[0] + path)
        headers = answer.headers
        assert answer.status == 200
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cache-control"] == "no-cache"
        assert headers["x-content-type-options"] == "nosniff"
        known = {"if-none-match": headers["etag"]}
        again = await screen.context.request.get(stack.gateway_urls[0] + path, headers=known)
        assert again.status == 304
    for path in ("/page/none.js", "/page/..%2fapp.py", "/page/%2e%2e%2fapp.py"):
        answer = await screen.context.request.get(stack.gateway_urls[0] + path)
        assert answer.status == 404
