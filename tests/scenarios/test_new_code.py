"""An agent's file changes while its run goes on: the run keeps the code that it began with."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from shared.protocol.ids import new_id, new_thread_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Person
from tests.scenarios.sql import carrier, select

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
