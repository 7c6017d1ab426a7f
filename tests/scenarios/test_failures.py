"""What goes wrong in models, tools and agents ends the run with a code, and nobody else's run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from ag_ui_validate.pytest_plugin import assert_valid_agui

from shared.protocol.ids import new_thread_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Frame, Person, assert_gapless

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    settings = {
        "BATON_AGENTS_HOME": str(FIXTURES / "agents"),
        "BATON_TOOLS_DIR": str(FIXTURES / "tools"),
        "BATON_TOOL_TIMEOUT_S": "1",
        "BATON_MODEL_SILENCE_S": "1",
        "BATON_MODELS_CONFIG": str(FIXTURES / "hasty_models.yaml"),
        "BATON_MAX_TURNS": "3",
    }
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(demo=True, database_url=url, env=settings) as started:
            yield started


async def outcome(person: Person, text: str, agent: str = "Careless") -> list[Frame]:
    """The events of one run."""
    async with person.socket() as socket:
        ack = await socket.say(new_thread_id(), text, agent=agent)
        assert ack["op"] == "ack", ack
        await socket.finished()
    assert_gapless(socket.events())
    return [frame["event"] for frame in socket.events()]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("400", "upstream_refused"),
        ("401", "upstream_auth"),
        ("429", "upstream_rate_limited"),
        ("500", "upstream_unavailable"),
        ("503", "upstream_unavailable"),
        ("cut", "upstream_unavailable"),
        ("hang", "upstream_timeout"),
        ("hang_mid", "upstream_timeout"),
        ("nonsense", "upstream_invalid"),
        ("empty", "upstream_invalid"),
        ("empty_stream", "upstream_invalid"),
        ("incomplete", "upstream_invalid"),
        ("failed", "upstream_unavailable"),
    ],
)
async def test_a_failing_model_gives_a_code(ada: Person, fault: str, code: str) -> None:
    events = await outcome(ada, f"[[fault={fault}]]")
    assert (events[-1]["type"], events[-1]["code"]) == ("RUN_ERROR", code)
    assert_valid_agui(events)


async def test_a_fault_that_passes_before_the_first_delta_is_not_seen(ada: Person) -> None:
    events = await outcome(ada, "once [[fault=500 times=1]]")
    assert events[-1]["type"] == "RUN_FINISHED"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("refuse {}", "no_stock"),
        ("crash {}", "tool_failed"),
        ("sleepy {}", "tool_timeout"),
        ("huge {}", "tool_result_too_large"),
        ('explode {"why": "boom"}', "agent_error"),
    ],
)
async def test_a_tool_that_fails_for_the_run_ends_it(ada: Person, call: str, code: str) -> None:
    events = await outcome(ada, f"[[tool={call}]]")
    assert (events[-1]["type"], events[-1]["code"]) == ("RUN_ERROR", code)
    assert "sk-" not in str(events)
    assert "internals" not in str(events)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("advise {}", "Try it tomorrow."),
        ('divide {"a": 1, "b": 0}', "error"),
        ('nope {"x": 1}', "not found"),
        ('update_profile {"time_zone": "Mars/Base"}', "time_zone"),
        ('update_profile {"colour": "red"}', "colour"),
    ],
)
async def test_an_error_for_the_model_lets_the_run_go_on(ada: Person, call: str, told: str) -> None:
    events = await outcome(ada, f"[[tool={call}]]")
    result = next(event for event in events if event["type"] == "TOOL_CALL_RESULT")
    assert told in result["content"]
    assert result["metadata"] == {"baton": {"failed": True}}
    assert events[-1]["type"] == "RUN_FINISHED"
    messages = (await ada.http.get(f"/api/threads/{events[0]['threadId']}/messages")).json()
    (kept,) = [one for one in messages["data"] if one["role"] == "tool"]
    assert (kept["content"], kept["metadata"]) == (result["content"], result["metadata"])


async def test_too_many_turns_end_the_run(ada: Person) -> None:
    events = await outcome(ada, '[[turns=9 divide {"a": 1, "b": 1}]]')
    assert events[-1]["code"] == "max_turns"


async def test_a_guardrail_ends_the_run_and_is_named(ada: Person) -> None:
    events = await outcome(ada, "hello", agent="Guarded")
    assert (events[-1]["code"], "no_swearing" in events[-1]["message"]) == (
        "guardrail_tripped",
        True,
    )


async def test_repeated_call_ids_of_a_server_are_made_unique(ada: Person) -> None:
    events = await outcome(ada, '[[repeat_call_ids]] [[turns=2 divide {"a": 4, "b": 2}]]')
    ids = [event["toolCallId"] for event in events if event["type"] == "TOOL_CALL_START"]
    assert (len(ids), len(set(ids))) == (2, 2)
    assert events[-1]["type"] == "RUN_FINISHED"


async def test_a_failed_run_does_not_keep_its_thread(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        await socket.say(thread, "[[fault=cut]]", agent="Careless")
        await socket.finished()
        await socket.say(thread, "hello", agent="Careless")
        end = await socket.finished()
    assert end["event"]["type"] == "RUN_FINISHED"


async def test_broken_agents_are_named_with_file_and_line_and_the_others_serve(
    ada: Person,
) -> None:
    agents = {agent["name"] for agent in (await ada.get("/api/agents"))["data"]}
    assert agents == {"Boundless", "Careless", "Guarded"}
    status = str(await ada.get("/api/status"))
    assert "Broken/agent.py:5" in status
    assert "Syntax/agent.py:3" in status


async def test_an_output_that_json_has_no_form_for_is_shown_as_well_as_may_be(ada: Person) -> None:
    events = await outcome(ada, '[[tool=power {"of": 5}]]', agent="Boundless")
    assert (events[-1]["type"], events[-1]["result"]) == ("RUN_FINISHED", [32])


async def test_a_run_whose_end_cannot_be_told_ends_all_the_same(ada: Person) -> None:
    events = await outcome(ada, '[[tool=power {"of": 70}]]', agent="Boundless")
    assert (events[-1]["type"], events[-1]["code"]) == ("RUN_ERROR", "agent_error")
    assert "The agent's output" in events[-1]["message"]
    assert_valid_agui(events)
