"""A thread that nears its model's window goes on with a summary, also when its runner dies."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from ag_ui_validate.pytest_plugin import assert_valid_agui

from runner.compaction.agent import NAME
from shared.protocol.ids import new_thread_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Person, assert_gapless
from tests.scenarios.sql import carrier, select
from tests.scenarios.test_files import asked
from tests.scenarios.test_take_over import TAKEN_OVER, seen

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

MODELS = 'providers: {demo: {}}\nwindows: {"*": 1000}\ncompactor: demo-small\n'
LONG = "so much to say " * 80


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model server whose models have a small window."""
    file: Path = tmp_path_factory.mktemp("config") / "models.yaml"
    file.write_text(MODELS)
    return file


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores, models: Path) -> AsyncIterator[Stack]:
    with stores.database() as url:
        stores.empty_redis()
        env = {"BATON_MODELS_CONFIG": str(models)}
        async with running_stack(runners=2, demo=True, database_url=url, env=env) as started:
            yield started


async def test_a_long_thread_goes_on_with_a_summary_and_keeps_all_of_it(
    ada: Person, stack: Stack
) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        await socket.say(thread, f"first {LONG}")
        await socket.finished()
        ack = await socket.say(thread, f"second [[deltas=60]] [[tokens_per_s=30]] {LONG}")
        activity = (await seen(socket, "ACTIVITY_SNAPSHOT"))["event"]
        await seen(socket, "TEXT_MESSAGE_CHUNK", 5)
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        end = await socket.finished()
    assert end["event"]["type"] == "RUN_FINISHED", end
    assert_gapless(socket.events())
    events = [frame["event"] for frame in socket.events()]
    assert_valid_agui(events, severity_overrides=TAKEN_OVER)
    messages = (await ada.get(f"/api/threads/{thread}/messages"))["data"]
    assert [one["role"] for one in messages] == [
        *("user", "assistant"),
        *("user", "activity", "assistant"),
    ]
    assert messages[3]["content"] == activity["content"]
    assert messages[3]["content"]["until"] == messages[1]["id"]
    calls = await asked(stack, "Summary of the conversation so far")
    answering = [body for body in calls if "second" in body]
    assert len(answering) == 2  # once more the one that was cut by the kill
    assert all("first so much" not in body or len(body) < 6000 for body in answering)
    # Nobody summarised it again: the first message and its answer, one after the other.
    summarising = await asked(stack, "You summarise the beginning of a conversation")
    assert len(summarising) == 2
    await assert_seen_as_an_agent_of_its_own(ada, stack, ack["runId"], end, events, summarising)


async def assert_seen_as_an_agent_of_its_own(
    ada: Person, stack: Stack, run: str, end: Any, events: list[Any], bodies: list[str]
) -> None:
    """It has a step, a model, tokens and spans; and nobody can call it."""
    assert all("demo-small" in body for body in bodies)
    assert {one["model"] for one in end["event"]["usage"]} > {"demo-small"}
    steps = [one["stepName"] for one in events if one["type"] == "STEP_STARTED"]
    assert steps[:3] == ["Assistant", NAME, "Assistant"]
    query = (
        "SELECT spans.data->>'type', spans.ended_at IS NOT NULL FROM spans JOIN runs "
        "ON runs.root_id = spans.root_id WHERE runs.public_id = %s "
        "AND (spans.data->>'name' = %s OR spans.data->>'model' = 'demo-small')"
    )
    spans = await select(stack, query, run, NAME)
    assert sorted(spans) == [("agent", True), ("agent", True), *[("generation", True)] * 2]
    models = (await ada.get("/v1/models"))["data"]
    assert models
    assert NAME not in {one["id"] for one in models}
