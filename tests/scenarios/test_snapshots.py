"""A long run is taken over from a snapshot that a runner left, and nobody notices."""

import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.protocol.ids import new_thread_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Person, assert_gapless
from tests.scenarios.sql import carrier, select

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

TURNS = 30
SNAPSHOTS = "SELECT state FROM snapshots"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    env = {"BATON_MAX_TURNS": str(TURNS + 5)}
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(runners=2, demo=True, database_url=url, env=env) as started:
            yield started


async def test_a_long_run_goes_on_from_its_snapshot(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    text = f'[[turns={TURNS} save_note {{"text":"long"}}]] [[tokens_per_s=100]]'
    async with ada.socket() as socket:
        ack = await socket.say(thread, text)
        for _ in range(27):
            await socket.until(lambda f: f.get("event", {}).get("type") == "TOOL_CALL_RESULT")
        assert len(await select(stack, SNAPSHOTS)) == 1
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        await socket.finished()
    events = [frame["event"] for frame in socket.events()]
    assert events[-1]["type"] == "RUN_FINISHED"
    assert any(e["type"] == "CUSTOM" and e["name"] == "baton.resumed" for e in events)
    assert_gapless(socket.events())
    assert len(await select(stack, "SELECT 1 FROM notes WHERE body = 'long'")) == TURNS
    assert await select(stack, SNAPSHOTS) == []
    messages = (await ada.get(f"/api/threads/{thread}/messages?limit=100"))["data"]
    results = [one["toolCallId"] for one in messages if one["role"] == "tool"]
    assert len(results) == len(set(results)) == TURNS
