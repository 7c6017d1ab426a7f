"""Each run is one trace: exported exactly as the dashboard wants it, and stored for offline use."""

import asyncio
import signal
from typing import Any

import httpx
import pytest

from shared.protocol.ids import new_thread_id, trace_id
from stack.running import Stack
from tests.scenarios.client import Person
from tests.scenarios.sql import carrier, select

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

SPAN_FIELDS = {
    "object",
    "id",
    "trace_id",
    "parent_id",
    "started_at",
    "ended_at",
    "span_data",
    "error",
}


async def run(person: Person, text: str) -> str:
    async with person.socket() as socket:
        ack = await socket.say(new_thread_id(), text)
        await socket.finished()
    run_id: str = ack["runId"]
    return run_id


async def exported(stack: Stack, trace: str, spans: int) -> list[dict[str, Any]]:
    """Everything the ingest got of a trace, once it has so many spans."""
    async with httpx.AsyncClient(base_url=stack.demo_url or "", trust_env=False) as http:
        while True:
            batches = (await http.get("/_demo/traces")).json()["data"]
            items = [
                item
                for batch in batches
                for item in batch["body"]["data"]
                if trace in (item["id"], item.get("trace_id"))
            ]
            if sum(item["object"] == "trace.span" for item in items) >= spans:
                return items


async def test_a_run_is_one_trace_in_the_dashboard(ada: Person, stack: Stack) -> None:
    run_id = await run(ada, "research the history of tea")
    rows = await select(
        stack,
        "SELECT r.root_id, t.public_id FROM runs r JOIN threads t ON t.id = r.thread_id"
        " WHERE r.public_id = %s",
        run_id,
    )
    root, thread = rows[0]
    items = await exported(stack, trace_id(root), spans=8)
    traces = [item for item in items if item["object"] == "trace"]
    spans = [item for item in items if item["object"] == "trace.span"]
    assert [(one["workflow_name"], one["group_id"]) for one in traces] == [("Assistant", thread)]
    assert {"run": run_id, "agent": "Assistant"}.items() <= traces[0]["metadata"].items()
    assert ada.email not in str(items)
    assert all(set(span) == SPAN_FIELDS for span in spans)
    assert len({span["id"] for span in spans}) == len(spans)
    assert shape(spans) == [
        ("custom", "task", None),
        ("agent", "Assistant", "task"),
        ("custom", "turn", "Assistant"),
        ("generation", None, "turn"),
        ("handoff", None, "turn"),
        ("agent", "Researcher", "task"),
        ("custom", "turn", "Researcher"),
        ("generation", None, "turn"),
    ]


def shape(spans: list[dict[str, Any]]) -> list[tuple[str, str | None, str | None]]:
    """Type, name and parent's name of each span, in the order in which they began."""
    names = {span["id"]: span["span_data"].get("name") for span in spans}
    return [
        (
            span["span_data"]["type"],
            span["span_data"].get("name"),
            names.get(span["parent_id"]),
        )
        for span in sorted(spans, key=lambda span: span["started_at"])
    ]


async def test_the_trace_is_stored_as_a_tree_with_inputs_and_outputs(ada: Person) -> None:
    run_id = await run(ada, "Please set my display name to Ada in my profile")
    trace = await ada.get(f"/api/runs/{run_id}/trace")
    spans = list(flat(trace["spans"]))
    assert trace["traceId"].startswith("trace_")
    assert len(trace["spans"]) == 1
    function = next(span for span in spans if span["data"]["type"] == "function")
    generation = next(span for span in spans if span["data"]["type"] == "generation")
    assert function["data"]["name"] == "update_profile"
    assert "Ada" in function["data"]["input"]
    assert "Ada" in function["data"]["output"]
    assert "display name" in str(generation["data"]["input"])
    assert all(span["endedAt"] for span in spans)


async def test_what_a_dead_runner_had_begun_is_told_once_as_taken_over(
    ada: Person, stack: Stack
) -> None:
    text = '[[turns=2 save_note {"text":"traced"}]] [[tokens_per_s=10]]'
    async with ada.socket() as socket:
        ack = await socket.say(new_thread_id(), text)
        await socket.until(lambda f: f.get("event", {}).get("type") == "TOOL_CALL_RESULT")
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        await socket.finished()
    rows = await select(stack, "SELECT root_id FROM runs WHERE public_id = %s", ack["runId"])
    stored = await select(stack, "SELECT id, error FROM spans WHERE root_id = %s", rows[0][0])
    cut = {id_ for id_, error in stored if error == {"message": "taken_over"}}
    assert cut
    async with asyncio.timeout(30):
        while True:
            spans = [
                item
                for item in await exported(stack, trace_id(rows[0][0]), spans=1)
                if item["object"] == "trace.span"
            ]
            if cut <= {span["id"] for span in spans}:
                break
    told = [span for span in spans if span["error"] == {"message": "taken_over"}]
    assert {span["id"] for span in told} == cut
    assert all(set(span) == SPAN_FIELDS and span["ended_at"] for span in told)
    assert len({span["id"] for span in spans}) == len(spans)


async def test_secrets_in_a_conversation_do_not_reach_traces(ada: Person, stack: Stack) -> None:
    secret = "sk-abcdefghijklmnopqrstuvwxyz123456"  # looks like a key, opens nothing
    run_id = await run(ada, f"echo my key is {secret}")
    rows = await select(stack, "SELECT root_id FROM runs WHERE public_id = %s", run_id)
    items = await exported(stack, trace_id(rows[0][0]), spans=6)
    assert secret not in str(items)
    assert secret not in str(await ada.get(f"/api/runs/{run_id}/trace"))


def flat(spans: list[dict[str, Any]]) -> Any:
    for span in spans:
        yield span
        yield from flat(span["children"])
