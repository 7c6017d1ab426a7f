"""With `AGENT_FORCE_CHAT_COMPLETIONS` a run looks the same, whatever the model server speaks."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from ag_ui_validate.pytest_plugin import assert_valid_agui

from shared.protocol.ids import new_thread_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Person, assert_gapless
from tests.scenarios.openai_caller import Caller
from tests.scenarios.test_failures import outcome

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    with stores.database() as url:
        stores.empty_redis()
        chat = {"AGENT_FORCE_CHAT_COMPLETIONS": "true"}
        async with running_stack(demo=True, database_url=url, env=chat) as started:
            yield started


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("hello", "TEXT_MESSAGE_CHUNK"),
        ("Please set my display name to Ada in my profile", "TOOL_CALL_RESULT"),
        ("research the history of tea", "REASONING_MESSAGE_CONTENT"),
        ("summarize a long story", "SUBAGENT_FINISHED"),
        ("do both", "TOOL_CALL_RESULT"),
        ("[[repeat_call_ids]] [[turns=2 current_time {}]]", "TOOL_CALL_RESULT"),
    ],
)
async def test_a_run_over_chat_completions(ada: Person, text: str, shows: str) -> None:
    events = await outcome(ada, text, agent="Assistant")
    assert events[-1]["type"] == "RUN_FINISHED"
    assert shows in {event["type"] for event in events}
    assert events[-1]["usage"][0]["totalTokens"] > 0
    assert_valid_agui(events)


async def test_an_answer_without_content_is_an_error(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        await socket.say(thread, "[[fault=empty]]")
        end = await socket.finished()
    assert_gapless(socket.events())
    assert end["event"]["code"] == "upstream_invalid"


async def test_an_answer_ends_where_its_caller_wants(ada: Person, stack: Stack) -> None:
    key = (await ada.http.post("/api/keys", json={"name": "program"})).json()["key"]
    caller = Caller(stack.gateway_urls[0], key)
    try:
        stopped = await caller.ask("[[deltas=9]]", stop=["word4", "word7"])
        short = await caller.ask(
            "[[deltas=9]]", max_tokens=2, extra_headers={"Idempotency-Key": "k"}
        )
        again = await caller.ask(
            "[[deltas=9]]", max_tokens=2, extra_headers={"Idempotency-Key": "k"}
        )
    finally:
        await caller.close()
    assert stopped.choices[0].finish_reason == "stop"
    assert "word3" in (stopped.choices[0].message.content or "")
    assert "word4" not in (stopped.choices[0].message.content or "")
    assert short.choices[0].finish_reason == again.choices[0].finish_reason == "length"
    assert short.choices[0].message == again.choices[0].message
    assert "word3" not in (short.choices[0].message.content or "")
