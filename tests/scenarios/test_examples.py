"""The agents of `examples/` are served as they are, and answer."""

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from runner.drop_ins.check import found_at
from shared.protocol.drop_ins import Checked
from shared.protocol.ids import new_id, new_thread_id
from stack.program import ROOT
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Person

pytestmark = pytest.mark.stores
in_loop = pytest.mark.asyncio(loop_scope="module")

EXAMPLES = ROOT / "examples" / "agents"
FOUND = found_at(EXAMPLES)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    with stores.database() as url:
        stores.empty_redis()
        env = {"BATON_AGENTS_DIR": str(EXAMPLES)}
        async with running_stack(demo=True, database_url=url, env=env) as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def ada(stack: Stack) -> AsyncIterator[Person]:
    person = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    yield person
    await person.http.aclose()


def test_every_example_is_an_agent() -> None:
    assert set(FOUND.agents) == {one.name for one in EXAMPLES.iterdir()}
    assert FOUND.refused == {}


def test_every_example_would_be_served() -> None:
    command = [sys.executable, "-m", "runner.drop_ins.check", str(EXAMPLES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    found = [Checked.model_validate_json(line) for line in done.stdout.splitlines()]
    assert {one.name: one.reason for one in found} == dict.fromkeys(FOUND.agents)


@in_loop
@pytest.mark.parametrize("name", FOUND.agents)
async def test_an_example_answers(name: str, ada: Person) -> None:
    async with ada.socket() as socket:
        await socket.say(new_thread_id(), "hello", agent=name)
        end = (await socket.finished())["event"]
    assert (end["type"], end["outcome"]) == ("RUN_FINISHED", {"type": "success"})


@in_loop
async def test_what_a_person_has_to_approve_waits_for_one(ada: Person) -> None:
    asked = '[[tool=refund {"order": "A1", "euros": 3}]]'
    async with ada.socket() as socket:
        await socket.say(new_thread_id(), asked, agent="Refunds")
        end = (await socket.finished())["event"]
    assert end["outcome"]["type"] == "interrupt"
