"""Agents' files change while processes run: runs keep their code, saves are served at once."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shared.protocol.ids import new_id, new_thread_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import PATIENCE_S, Person
from tests.scenarios.openai_caller import Caller, body, chunks_of
from tests.scenarios.sql import carrier, select
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

CODE = """
from agents import Agent, function_tool

@function_tool
def version() -> str:
    return "VERSION"

agent = Agent(name="Versioned", tools=[version])
"""


def write(file: Path, version: str) -> None:
    file.write_text(CODE.replace("VERSION", version))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("agents") / "Versioned" / "agent.py"
    made.parent.mkdir()
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores, file: Path) -> AsyncIterator[Stack]:
    write(file, "the first")
    env = {"BATON_AGENTS_HOME": str(file.parent.parent)}
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(demo=True, database_url=url, env=env) as started:
            yield started


async def test_a_run_goes_on_with_the_code_it_began_with(stack: Stack, file: Path) -> None:
    ada = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    async with ada.socket() as socket:
        text = "[[turns=3 version {}]] [[tokens_per_s=10]]"
        ack = await socket.say(new_thread_id(), text, agent="Versioned")
        await socket.until(lambda f: f.get("event", {}).get("type") == "TOOL_CALL_RESULT")
        write(file, "the second")
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        await socket.finished()
        later = len(socket.frames)
        await socket.say(new_thread_id(), "[[tool=version {}]]", agent="Versioned")
        await socket.finished()
    await ada.http.aclose()
    said = [
        (number >= later, frame["event"]["content"])
        for number, frame in enumerate(socket.frames)
        if frame.get("event", {}).get("type") == "TOOL_CALL_RESULT"
    ]
    assert said == [(False, "the first")] * 3 + [(True, "the second")]
    digests = await select(stack, "SELECT agent_digest FROM runs ORDER BY id")
    assert len(set(digests)) == 2


HELPER = """
from agents import Agent, Runner
from helpers import SAYS

talker = Agent(name="Talker")

async def run(text: str) -> str:
    \"\"\"Answers in its own words.\"\"\"
    said = await Runner.run(talker, text)
    return said.final_output + SAYS
"""


async def listed(person: Person, right: Callable[[dict[str, Any]], object]) -> None:
    async def fact() -> object:
        page = await person.get("/api/agents")
        return right({one["name"]: one for one in page["data"]})

    await until(fact)


async def answer(person: Person, agent: str) -> str:
    async with person.socket() as socket:
        await socket.say(new_thread_id(), "hello", agent=agent)
        await socket.finished()
    events = [frame["event"] for frame in socket.frames if "event" in frame]
    chunks = [event for event in events if event["type"] == "TEXT_MESSAGE_CHUNK"]
    return "".join(one["delta"] for one in chunks if one["messageId"] == chunks[-1]["messageId"])


async def test_what_is_saved_is_served_and_what_is_saved_broken_changes_nothing(
    stack: Stack, file: Path
) -> None:
    ada = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    mine = file.parent.parent / "team" / "Fresh"
    mine.mkdir(parents=True)
    (mine / "helpers.py").write_text("SAYS = ' (one)'")
    (mine / "agent.py").write_text(HELPER)
    await listed(ada, lambda agents: "team/Fresh" in agents)
    agents = {one["name"]: one for one in (await ada.get("/api/agents"))["data"]}
    assert agents["team/Fresh"]["description"] == "Answers in its own words."
    assert (await answer(ada, "team/Fresh")).endswith(" (one)")

    # A broken save leaves what was served, and says why.
    (mine / "helpers.py").write_text("SAYS = ' (two)'\n1 / 0")

    async def told() -> object:
        processes = (await ada.get("/api/status"))["processes"]
        return any("helpers.py:2: Zero" in one["broken"].get("team/Fresh", "") for one in processes)

    await until(told)
    assert (await answer(ada, "team/Fresh")).endswith(" (one)")

    # The next good one is served, and nothing is broken any more.
    (mine / "helpers.py").write_text("SAYS = ' (three)'")
    before = agents["team/Fresh"]["digest"]
    await listed(ada, lambda agents: agents["team/Fresh"]["digest"] != before)
    assert (await answer(ada, "team/Fresh")).endswith(" (three)")
    assert not await told()

    (mine / "agent.py").unlink()
    await listed(ada, lambda agents: "team/Fresh" not in agents)
    await ada.http.aclose()


VERSIONED = """
from agents import Agent, function_tool
from helpers import SAYS

@function_tool
def version() -> str:
    return f"VERSION {SAYS}"

agent = Agent(name="Busy", tools=[version])
"""


async def version_told(caller: Caller) -> str:
    """What a call's tool says; the call must succeed."""
    asked = body("[[tool=version {}]]", stream=True) | {"model": "Busy"}
    answer = await caller.http.post(
        "/v1/chat/completions", json=asked, headers={"Baton-Events": "1"}
    )
    events = [chunk["baton"]["event"] for chunk in chunks_of(answer.text) if "baton" in chunk]
    return next(str(one["content"]) for one in events if one["type"] == "TOOL_CALL_RESULT")


async def test_saves_good_and_broken_disturb_no_call(stack: Stack, file: Path) -> None:
    """Two files of an agent are saved over and over, half-written at times, while it is called."""
    ada = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    key = (await ada.http.post("/api/keys", json={"name": "program"})).json()["key"]
    caller = Caller(stack.gateway_urls[0], key)
    mine = file.parent.parent / "Busy"
    mine.mkdir()
    (mine / "helpers.py").write_text("SAYS = 0")
    (mine / "agent.py").write_text(VERSIONED.replace("VERSION", "0"))
    await listed(ada, lambda agents: "Busy" in agents)
    is_over = asyncio.Event()
    told: list[str] = []

    async def call_again_and_again() -> None:
        while not is_over.is_set():
            told.append(await version_told(caller))

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(call_again_and_again())
        for number in range(1, 11):
            is_new = unlike(await digest_of(ada, "Busy"))
            whole = VERSIONED.replace("VERSION", str(number))
            for broken in (whole[: len(whole) // 2], "raise RuntimeError", "", whole):
                (mine / "agent.py").write_text(broken)
                (mine / "helpers.py").write_text(f"SAYS = {number}")
                await asyncio.sleep(0)
            await listed(ada, is_new)
        is_over.set()
    assert len(told) > 20
    assert set(told) <= {f"{a} {b}" for a in range(11) for b in range(11) if abs(a - b) <= 1}

    async def newest() -> bool:
        return await version_told(caller) == "10 10"

    await until(newest)
    await caller.close()
    await ada.http.aclose()


async def digest_of(person: Person, agent: str) -> str:
    page = await person.get("/api/agents")
    return next(str(one["digest"]) for one in page["data"] if one["name"] == agent)


def unlike(digest: str) -> Callable[[dict[str, Any]], object]:
    return lambda agents: agents["Busy"]["digest"] != digest
