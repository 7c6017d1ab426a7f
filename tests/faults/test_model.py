"""A model server that fails: asked again before the first delta, and never doubled after it."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import pytest_asyncio
from ag_ui_validate.pytest_plugin import assert_valid_agui

from shared.protocol.ids import new_id, new_thread_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Frame, Person, assert_gapless, text_of
from tests.scenarios.sql import carrier, select
from tests.scenarios.test_official_client import replayed
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    settings = {
        "BATON_AGENTS_HOME": str(FIXTURES / "model_agents"),
        "BATON_MODELS_CONFIG": str(FIXTURES / "models.yaml"),
        "BATON_MODEL_SILENCE_S": "1",
        "BATON_CONCURRENCY": "3",
    }
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(runners=2, database_url=url, env=settings) as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def ada(stack: Stack) -> AsyncIterator[Person]:
    person = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    yield person
    await person.http.aclose()


class Told:
    """What one run told its person, and what is kept of it."""

    def __init__(self, thread: str, frames: list[Frame]) -> None:
        self.thread, self.frames = thread, frames
        self.events = [frame["event"] for frame in frames]
        self.kinds = [event["type"] for event in self.events]

    def custom(self, name: str) -> list[dict[str, Any]]:
        return [event["value"] for event in self.events if event.get("name") == name]

    @property
    def end(self) -> tuple[str, str | None]:
        return self.kinds[-1], self.events[-1].get("code")

    def shown(self) -> str:
        """The text a client shows at the end: what came after the last snapshot."""
        last = max(
            (n for n, kind in enumerate(self.kinds) if kind == "MESSAGES_SNAPSHOT"), default=0
        )
        return text_of(self.frames[last:])


async def ask(person: Person, text: str, agent: str) -> Told:
    thread = new_thread_id()
    async with person.socket() as socket:
        ack = await socket.say(thread, text, agent=agent)
        assert ack["op"] == "ack", ack
        await socket.finished()
    assert_gapless(socket.events())
    return Told(thread, socket.events())


async def requests(stack: Stack, text: str) -> list[dict[str, Any]]:
    """The model server's own record of the requests that hold a text."""
    async with httpx.AsyncClient(base_url=stack.demo_url or "", trust_env=False) as http:
        recorded = (await http.get("/_demo/requests")).json()["data"]
    return [one for one in recorded if text in json.dumps(one["body"])]


async def steps(stack: Stack, thread: str) -> list[str]:
    """Kinds of the steps in a thread's journal."""
    query = (
        "SELECT kind FROM steps JOIN runs ON runs.id = steps.root_id "
        "JOIN threads ON threads.id = runs.thread_id WHERE threads.public_id = %s"
    )
    return [row[0] for row in await select(stack, query, thread)]


async def stored(person: Person, thread: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = (await person.get(f"/api/threads/{thread}/messages"))["data"]
    return messages


# ------------------------------------------------------------------ before the first delta
@pytest.mark.parametrize(("fault", "times"), [("429", 1), ("500", 3), ("503", 2)])
async def test_a_server_that_recovers_gives_one_answer_and_one_step(
    ada: Person, stack: Stack, fault: str, times: int
) -> None:
    text = new_id("recovers")
    told = await ask(ada, f"{text} [[fault={fault} times={times}]]", "Plain")
    assert told.end == ("RUN_FINISHED", None)
    assert_valid_agui(told.events)
    assert len(await requests(stack, text)) == times + 1
    assert await steps(stack, told.thread) == ["model"]
    _, assistant = await stored(ada, told.thread)
    assert (assistant["role"], assistant["content"]) == ("assistant", told.shown())


async def test_who_waits_for_a_busy_server_is_told_for_how_long(ada: Person) -> None:
    told = await ask(ada, f"{new_id('busy')} [[fault=429 times=1]]", "Plain")
    waits = told.custom("baton.waiting")
    assert [one["reason"] for one in waits] == ["upstream_rate_limited"]
    assert 1 <= waits[0]["seconds"] <= 1.1
    assert "The model server is busy" in waits[0]["message"]


async def test_a_server_that_stays_busy_ends_the_run(ada: Person, stack: Stack) -> None:
    text = new_id("busy")
    told = await ask(ada, f"{text} [[fault=429]]", "Plain")
    assert told.end == ("RUN_ERROR", "upstream_rate_limited")
    assert len(await requests(stack, text)) == 5


@pytest.mark.parametrize(("fault", "code"), [("400", "upstream_refused"), ("401", "upstream_auth")])
async def test_what_no_wait_can_help_is_asked_once(
    ada: Person, stack: Stack, fault: str, code: str
) -> None:
    text = new_id("refused")
    told = await ask(ada, f"{text} [[fault={fault}]]", "Plain")
    assert told.end == ("RUN_ERROR", code)
    assert len(await requests(stack, text)) == 1


# ------------------------------------------------------------------ after the first delta
async def test_a_cut_ends_the_run_where_nothing_else_is_set(ada: Person, stack: Stack) -> None:
    text = new_id("cut")
    told = await ask(ada, f"{text} [[fault=cut times=1]]", "Plain")
    assert told.end == ("RUN_ERROR", "upstream_unavailable")
    assert "broke off its answer" in told.events[-1]["message"]
    assert len(await requests(stack, text)) == 1
    assert (await stored(ada, told.thread))[-1]["content"] == told.shown()


@pytest.mark.parametrize("fault", ["cut", "failed"])
async def test_a_cut_is_withdrawn_and_asked_for_again_where_that_is_set(
    ada: Person, stack: Stack, fault: str
) -> None:
    text = new_id("cut")
    told = await ask(ada, f"{text} [[deltas=40]] [[fault={fault} times=2]]", "Again")
    assert told.end == ("RUN_FINISHED", None)
    assert_valid_agui(told.events)
    assert len(await requests(stack, text)) == 3
    assert (told.kinds.count("RUN_STARTED"), told.kinds.count("MESSAGES_SNAPSHOT")) == (1, 2)
    assert await steps(stack, told.thread) == ["model"]
    user, assistant = await stored(ada, told.thread)
    assert assistant["content"] == told.shown() == " ".join(f"word{n}" for n in range(1, 41))
    withdrawn = [id_ for one in told.custom("baton.restarted") for id_ in one["messageIds"]]
    ids = {e["messageId"] for e in told.events if e["type"] == "TEXT_MESSAGE_CHUNK"}
    assert len(withdrawn) == 2
    assert ids == {*withdrawn, assistant["id"]}
    snapshots = [e["messages"] for e in told.events if e["type"] == "MESSAGES_SNAPSHOT"]
    assert snapshots == [[user], [user]]


@pytest.mark.node
@pytest.mark.parametrize(
    "text", ["cut [[fault=cut times=1]]", "think about it [[fault=cut times=1]]"]
)
async def test_the_official_client_shows_a_restarted_answer_once(ada: Person, text: str) -> None:
    told = await ask(ada, f"{text} {new_id('official')}", "Again")
    shown = await replayed(told.thread, told.frames)
    assert (shown["warnings"], shown["errors"]) == ([], [])
    mine = [one for one in shown["messages"] if one["role"] != "reasoning" or one["content"]]
    assert mine == await stored(ada, told.thread)


async def test_who_comes_back_later_sees_a_restarted_answer_once(ada: Person) -> None:
    told = await ask(ada, f"{new_id('later')} [[fault=cut times=1]]", "Again")
    async with ada.socket() as socket:
        await socket.send(op="subscribe", threadId=told.thread, after=told.frames[0]["id"])
        await socket.until(lambda frame: frame["op"] == "live")
    again = Told(told.thread, socket.events())
    assert again.shown() == told.shown()


async def test_a_server_that_never_keeps_on_ends_the_run_with_its_last_half_text(
    ada: Person, stack: Stack
) -> None:
    text = new_id("cut")
    told = await ask(ada, f"{text} [[fault=cut]]", "Again")
    assert told.end == ("RUN_ERROR", "upstream_unavailable")
    assert len(await requests(stack, text)) == 6
    assert (await stored(ada, told.thread))[-1]["content"] == told.shown()


# ------------------------------------------------------------------ silence
@pytest.mark.parametrize("fault", ["hang", "hang_mid"])
@pytest.mark.parametrize("agent", ["Plain", "Again"])
async def test_a_hang_ends_the_run_after_one_try(
    ada: Person, stack: Stack, fault: str, agent: str
) -> None:
    text = new_id("hang")
    told = await ask(ada, f"{text} [[fault={fault}]]", agent)
    assert told.end == ("RUN_ERROR", "upstream_timeout")
    assert len(await requests(stack, text)) == 1


# ------------------------------------------------------------------ the fleet
async def showing(stack: Stack, metric: str, provider: str) -> set[str]:
    """The runners whose metric of a provider is 1."""
    line = f'{metric}{{provider="{provider}"}} 1.0'
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        pages = await asyncio.gather(*(http.get(f"{url}/metrics") for url in stack.runner_urls))
    pairs = zip(stack.runner_urls, pages, strict=True)
    return {url for url, page in pairs if line in page.text}


async def shown_by_all_runners(stack: Stack, metric: str, provider: str) -> bool:
    """Whether each runner's metric of a provider is 1."""
    return await showing(stack, metric, provider) == set(stack.runner_urls)


async def change(stack: Stack, statement: str, *, until_shown: tuple[str, str]) -> None:
    """Change what SQL holds of providers, until all runners have heard it.

    More than once, for a heartbeat under way may still bring what came before.
    """

    async def heard() -> bool:
        async with await psycopg.AsyncConnection.connect(stack.database_url) as db:
            await db.execute(statement.encode())
        return await shown_by_all_runners(stack, *until_shown)

    await until(heard)


async def test_a_limit_holds_over_all_runners(ada: Person, stack: Stack) -> None:
    """No runner takes more than three runs, so both have calls that wait."""
    text = new_id("narrow")
    asking = [ask(ada, f"{text} [[delay=1]] number {n}", "Narrow") for n in range(8)]
    told = await asyncio.gather(*asking)
    assert {one.end for one in told} == {("RUN_FINISHED", None)}
    at_once = [one["atOnce"] for one in await requests(stack, text)]
    assert (len(at_once), max(at_once)) == (8, 2)
    waits = [wait for one in told for wait in one.custom("baton.waiting")]
    assert {one["reason"] for one in waits} == {"turn"}
    loads = await select(stack, "SELECT runner FROM provider_loads WHERE provider = 'narrow'")
    assert len(loads) == 2


async def test_what_a_server_asked_for_holds_all_runners_back(ada: Person, stack: Stack) -> None:
    held = "UPDATE model_providers SET held_until = now() + interval '5 s' WHERE name = 'plain'"
    await change(stack, held, until_shown=("baton_model_held", "plain"))
    told = await ask(ada, f"{new_id('held')} hello", "Plain")
    assert told.end == ("RUN_FINISHED", None)
    (wait,) = told.custom("baton.waiting")
    assert wait["reason"] == "upstream_rate_limited"
    assert wait["message"].startswith("The model server is busy; next try in ")


async def test_a_server_that_is_down_is_left_alone_by_all_runners_until_it_works(
    ada: Person, stack: Stack
) -> None:
    text = new_id("fragile")
    asking = [ask(ada, f"{text} [[fault=503 times=4]] number {n}", "Fragile") for n in range(4)]
    answers = asyncio.gather(*asking)
    down = set[str]()

    async def all_were_told() -> bool:
        down.update(await showing(stack, "baton_model_down", "fragile"))
        return down == set(stack.runner_urls)

    await until(all_were_told)
    told = await answers
    assert {one.end for one in told} == {("RUN_FINISHED", None)}
    assert len(await requests(stack, text)) == 20
    waits = [wait["message"] for one in told for wait in one.custom("baton.waiting")]
    assert any("The model server does not work" in message for message in waits)
    query = "SELECT failures, open_until FROM model_providers WHERE name = 'fragile'"

    async def closed() -> bool:
        return await select(stack, query) == [(0, None)]

    await until(closed)


async def test_a_server_that_stays_down_ends_runs_in_words(ada: Person, stack: Stack) -> None:
    down = "UPDATE model_providers SET open_until = now() + interval '{} s' WHERE name = 'fragile'"
    await change(stack, down.format(100), until_shown=("baton_model_down", "fragile"))
    text = new_id("down")
    told = await ask(ada, f"{text} hello", "Fragile")
    assert told.end == ("RUN_ERROR", "upstream_unavailable")
    assert "is not asked for" in told.events[-1]["message"]
    assert await requests(stack, text) == []


# ------------------------------------------------------------------ while a call waits
async def test_a_wait_ends_at_once_where_the_run_is_cancelled(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    async with held_back(stack), ada.socket() as socket:
        ack = await socket.say(thread, f"{new_id('cancel')} hello", agent="Plain")
        await socket.until(is_wait)
        await socket.send(op="cancel", threadId=thread, runId=ack["runId"])
        end = await socket.finished()
    assert end["event"]["outcome"] == {"type": "cancelled"}


async def test_a_run_that_waits_is_given_away_by_a_runner_that_shuts_down(
    ada: Person, stack: Stack
) -> None:
    thread = new_thread_id()
    async with held_back(stack), ada.socket() as socket:
        ack = await socket.say(thread, f"{new_id('deploy')} hello", agent="Plain")
        await socket.until(is_wait)
        name = await carrier(stack, ack["runId"])
        stack.processes[name].kill(signal.SIGTERM)
        await socket.until(is_wait)  # of whoever goes on
    events = [frame["event"] for frame in socket.events()]
    assert [one["name"] for one in events if one["type"] == "CUSTOM"] == [
        "baton.waiting",
        "baton.resumed",
        "baton.waiting",
    ]


def is_wait(frame: Frame) -> bool:
    return bool(frame.get("event", {}).get("name") == "baton.waiting")


@asynccontextmanager
async def held_back(stack: Stack) -> AsyncIterator[None]:
    """The provider `plain` is held back in the block, for less than calls are patient."""
    held = "UPDATE model_providers SET held_until = now() + interval '50 s' WHERE name = 'plain'"
    await change(stack, held, until_shown=("baton_model_held", "plain"))
    yield
    await select(
        stack,
        "UPDATE model_providers SET held_until = NULL WHERE name = 'plain' RETURNING name",
    )
