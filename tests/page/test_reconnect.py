"""Gateways die, networks go, sign-ins end: the conversation goes on without a gap or a repeat."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from playwright.async_api import Browser, Route, WebSocketRoute, expect

from shared.protocol.ids import new_id
from stack.running import Stack
from tests.page.screen import Screen
from tests.page.test_chat import is_state, words
from tests.scenarios.sql import select
from tests.until import until

pytestmark = [pytest.mark.browser, pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]


async def test_a_gateway_is_killed_in_mid_answer(ada: Screen, stack: Stack) -> None:
    gateway = stack.processes["gateway-1"]
    turn = await ada.send("[[deltas=120]] [[tokens_per_s=25]]")
    await expect(turn.locator(".text")).to_contain_text("word10 ")
    gateway.kill(signal.SIGKILL)
    await expect(ada.connection).to_have_text("Reconnecting…")
    await expect(turn.locator(".text")).not_to_contain_text("word120")
    await ada.is_connected()
    await is_state(turn, "done")
    await expect(turn.locator(".prose")).to_have_text(words(120))
    await expect(ada.page.locator(".bubble")).to_have_count(1)


async def test_a_gateway_restarts_in_mid_answer(ada: Screen, stack: Stack) -> None:
    turn = await ada.send("[[deltas=120]] [[tokens_per_s=25]]")
    await expect(turn.locator(".text")).to_contain_text("word10 ")
    await stack.processes["gateway-1"].restart()
    await ada.is_connected()
    await is_state(turn, "done")
    await expect(turn.locator(".prose")).to_have_text(words(120))


async def test_a_runner_dies_and_another_goes_on(ada: Screen, stack: Stack) -> None:
    turn = await ada.send("[[deltas=100]] [[tokens_per_s=15]]")
    await expect(turn.locator(".text")).to_contain_text("word10 ")
    stack.processes[await carrier(stack)].kill(signal.SIGKILL)
    await expect(turn.locator(".note")).to_have_text("Another runner took over and went on.")
    await is_state(turn, "done")
    await expect(turn.locator(".prose")).to_have_text(words(100))
    await expect(turn.locator(".text")).to_have_count(1)
    before = await ada.text()
    await ada.page.reload()
    await expect(turn.locator(".note")).to_be_visible()
    assert await ada.text() == before


async def carrier(stack: Stack) -> str:
    """Name of the runner that carries the newest run; heartbeats would tell it a second late."""
    found: list[str] = []

    async def known() -> bool:
        rows = await select(
            stack, "SELECT runner_id FROM runs WHERE status = 'running' ORDER BY id DESC LIMIT 1"
        )
        found[:] = [row[0] for row in rows if row[0]]
        return bool(found)

    await until(known)
    pid = int(found[0].split("-")[-2])
    return next(name for name, child in stack.processes.items() if child.pid == pid)


async def test_what_is_sent_while_the_gateway_is_away_arrives_once(
    ada: Screen, stack: Stack
) -> None:
    gateway = stack.processes["gateway-1"]
    await ada.say("hello")
    await gateway.stop()
    await expect(ada.connection).to_have_text("Reconnecting…")
    old = await ada.send("what time is it")
    await is_state(old, "sending")
    gateway.start()
    await gateway.ready()
    await ada.page.evaluate("dispatchEvent(new Event('online'))")  # without it, back-off decides
    await ada.is_connected()
    await is_state(old, "done")
    await expect(old.locator("details.call")).to_have_count(1)
    await ada.page.reload()
    await expect(ada.turns).to_have_count(2)


async def test_a_new_chat_begun_while_the_gateway_is_away_survives_a_reload(
    ada: Screen, stack: Stack
) -> None:
    """The page itself cannot be had from a dead gateway, so the reload comes before it dies."""
    gateway = stack.processes["gateway-1"]
    await gateway.stop()
    await expect(ada.connection).to_have_text("Reconnecting…")
    await ada.send("hello")
    held = await ada.page.evaluate("sessionStorage.getItem('baton.outbox')")
    assert len(orjson.loads(held)) == 1
    gateway.start()
    await gateway.ready()
    await ada.page.reload()
    await ada.is_connected()
    await is_state(ada.turns.first, "done")
    await expect(ada.turns).to_have_count(1)
    assert orjson.loads(await ada.page.evaluate("sessionStorage.getItem('baton.outbox')")) == []


Frame = dict[str, Any]

REFUSAL = {"op": "error", "code": "unavailable", "message": "A store is away.", "retryable": True}


class Wire:
    """Between page and gateway: sees frames, and may lose one and cut the line."""

    def __init__(self) -> None:
        self.sent: list[Frame] = []
        self.got: list[Frame] = []
        self.lose: Callable[[Frame], bool] = lambda _: False
        self.refuse_runs = False
        self.close_code = 1012
        self.hanging_up: asyncio.Future[None] | None = None

    async def attach(self, screen: Screen) -> None:
        await screen.page.route_web_socket("**/realtime", self._connect)
        await screen.page.reload()
        await screen.is_connected()

    def _connect(self, page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        cut = False

        def to_server(text: str | bytes) -> None:
            frame = orjson.loads(text)
            self.sent.append(frame)
            if self.refuse_runs and frame["op"] == "run":
                page.send(orjson.dumps(REFUSAL | {"id": frame["id"]}).decode())
            else:
                server.send(text)

        async def hang_up() -> None:
            await page.close(code=self.close_code)
            await server.close()

        def to_page(text: str | bytes) -> None:
            nonlocal cut
            frame = orjson.loads(text)
            if not cut and self.lose(frame):
                cut = True
                self.lose = lambda _: False
                self.hanging_up = asyncio.ensure_future(hang_up())
            if not cut:
                self.got.append(frame)
                page.send(text)

        page.on_message(to_server)
        server.on_message(to_page)

    def ops(self, op: str) -> list[Frame]:
        return [frame for frame in self.sent if frame["op"] == op]


@pytest.mark.parametrize("code", [1012, 3000, 4429])
async def test_a_lost_ack_is_asked_for_again_with_the_same_run(ada: Screen, code: int) -> None:
    wire = Wire()
    await wire.attach(ada)
    wire.close_code = code
    wire.lose = lambda frame: frame["op"] == "ack" and "runId" in frame
    turn = await ada.send("hello")
    await is_state(turn, "done")
    runs = wire.ops("run")
    assert len(runs) == 2
    assert runs[0] == runs[1]
    await expect(ada.turns).to_have_count(1)
    await expect(turn.locator(".text")).to_have_count(1)
    assert (await ada.thread())["messages"] == ["user", "assistant"]


async def test_what_was_refused_can_be_sent_again_or_changed(ada: Screen) -> None:
    wire = Wire()
    await wire.attach(ada)
    wire.refuse_runs = True
    turn = await ada.send("hello")
    await expect(turn.locator(".failure")).to_contain_text("Not sent. A store is away. unavailable")
    await turn.get_by_role("button", name="Try again").dblclick()
    await until(lambda: asyncio.sleep(0, len(wire.ops("run")) == 2))
    wire.refuse_runs = False
    await turn.get_by_role("button", name="Try again").click()
    await is_state(turn, "done")
    assert len({frame["input"]["runId"] for frame in wire.ops("run")}) == 1
    wire.refuse_runs = True
    turn = await ada.send("helo")
    await turn.get_by_role("button", name="Edit").click()
    await expect(ada.turns).to_have_count(1)
    await expect(ada.field).to_have_value("helo")
    assert (await ada.thread())["messages"] == ["user", "assistant"]


async def test_a_line_cut_at_any_event_leaves_no_gap(ada: Screen) -> None:
    wire = Wire()
    await wire.attach(ada)
    for cut_at in ("TOOL_CALL_START", "TOOL_CALL_RESULT", "TEXT_MESSAGE_CHUNK", "RUN_FINISHED"):
        wire.lose = lambda frame, kind=cut_at: frame.get("event", {}).get("type") == kind  # type: ignore[misc]
        turn = await ada.say("what time is it")
        await is_state(turn, "done")
        await expect(turn.locator("details.call > summary")).to_contain_text("done")
        await expect(turn.locator(".text")).to_have_count(1)
    subscribed = [frame.get("after") for frame in wire.ops("subscribe")]
    assert len([after for after in subscribed if after]) == 4
    resets = [frame for frame in wire.got if frame["op"] == "reset"]
    assert resets == []


async def test_a_browser_without_network_says_so_and_comes_back(ada: Screen) -> None:
    wire = Wire()
    await wire.attach(ada)
    await ada.context.set_offline(True)
    wire.lose = lambda frame: frame["op"] == "pong"
    await expect(ada.connection).to_have_text("Offline")
    await ada.context.set_offline(False)
    await ada.is_connected()
    await ada.say("hello")


async def test_an_ended_sign_in_asks_for_another_and_goes_on(ada: Screen) -> None:
    await ada.say("hello")
    turn = await ada.send("[[deltas=100]] [[tokens_per_s=20]]")
    await expect(turn.locator(".text")).to_contain_text("word5 ")
    await ada.field.fill("half a thought")
    answer = await ada.context.request.post(f"{ada.url}/auth/logout", data={})
    assert answer.ok
    await expect(ada.page.get_by_label("E-mail")).to_be_visible()
    await expect(ada.turns.first).to_be_hidden()
    await ada.sign_in()
    await is_state(turn, "done")
    await expect(turn.locator(".prose")).to_have_text(words(100))
    await expect(ada.turns).to_have_count(2)
    await expect(ada.field).to_have_value("half a thought")


async def test_somebody_else_sees_nothing_of_whoever_was_there_before(ada: Screen) -> None:
    await ada.say("hello")
    await ada.field.fill("a secret")
    assert (await ada.context.request.post(f"{ada.url}/auth/logout", data={})).ok
    await expect(ada.page.get_by_label("E-mail")).to_be_visible()
    ada.email = f"{new_id('bob')}@example.com"
    await ada.sign_in()
    await expect(ada.page.get_by_text("Your conversations will be listed here.")).to_be_visible()
    await expect(ada.turns).to_have_count(0)
    await expect(ada.field).to_have_value("")


async def test_signing_out_leaves_nothing_behind(ada: Screen) -> None:
    await ada.say("hello")
    await ada.page.get_by_role("button", name="Sign out").click()
    await expect(ada.page.get_by_label("E-mail")).to_be_visible()
    assert await ada.page.evaluate("Object.keys(localStorage)") == []


async def test_a_page_without_its_gateway_waits_for_it(
    stack: Stack, browser: Browser, ada: Screen
) -> None:
    async def away(route: Route) -> None:
        await route.abort()

    await ada.page.route("**/auth/me", away)
    await ada.page.reload()
    await expect(ada.page.get_by_text("Baton cannot be reached. Trying again…")).to_be_visible()
    await ada.page.unroute("**/auth/me", away)
    await ada.is_connected()


async def test_ways_to_sign_in_are_those_of_the_gateway(screen: Screen) -> None:
    async def ways(route: Route) -> None:
        await route.fulfill(json={"dev": False, "issuer": True, "issuerName": "Google"})

    await screen.page.route("**/auth/ways", ways)
    await screen.page.reload()
    link = screen.page.get_by_role("link", name="Continue with Google")
    await expect(link).to_have_attribute("href", "/auth/login")
    await expect(screen.page.get_by_label("E-mail")).to_be_hidden()
