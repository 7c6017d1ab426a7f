"""The official AG-UI client accepts every stream without a warning, and shows what SQL keeps."""

import asyncio
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from shared.protocol.ids import new_thread_id
from stack.running import Stack
from tests.scenarios.client import Frame, Person, Socket
from tests.scenarios.openai_caller import Caller
from tests.scenarios.sql import carrier

pytestmark = [pytest.mark.stores, pytest.mark.node, pytest.mark.asyncio(loop_scope="module")]

REPLAY = Path(__file__).parent.parent / "js" / "replay.mjs"


def runs_of(frames: list[Frame]) -> list[dict[str, Any]]:
    """The events of each run, with the person's message that began it."""
    runs: list[dict[str, Any]] = []
    for event in (frame["event"] for frame in frames):
        if event["type"] == "RUN_STARTED":
            message = event["input"]["messages"][0]
            runs.append({"runId": event["runId"], "message": message, "events": []})
        runs[-1]["events"].append(event)
    return runs


async def replayed(thread: str, frames: list[Frame]) -> dict[str, Any]:
    """What the official client makes of a thread's events."""
    node = await asyncio.create_subprocess_exec(
        shutil.which("node") or "node",
        str(REPLAY),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    given = json.dumps({"threadId": thread, "runs": runs_of(frames)})
    out, _ = await node.communicate(given.encode())
    result: dict[str, Any] = json.loads(out)
    return result


async def assert_shown_as_stored(person: Person, thread: str, socket: Socket) -> None:
    shown = await replayed(thread, socket.events())
    assert (shown["warnings"], shown["errors"]) == ([], [])
    stored = (await person.get(f"/api/threads/{thread}/messages"))["data"]
    # Sub-agents' own messages are shown while they come, and are not part of the conversation.
    mine = [message for message in shown["messages"] if not message.get("subagentRunId")]
    assert mine == stored


@pytest.mark.parametrize(
    "texts",
    [
        ["hello"],
        ["Please set my display name to Ada in my profile", "what is my name"],
        ["research the history of tea", "hello"],
        ["summarize a long story", "do both"],
        ["think about it", "[[fault=cut]]", "hello"],
        ["[[fault=refusal]]", "[[tool=nope {}]]"],
    ],
    ids=lambda texts: texts[0][:20],
)
async def test_the_official_client_shows_what_sql_keeps(ada: Person, texts: list[str]) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        for text in texts:
            await socket.say(thread, text)
            await socket.finished()
    await assert_shown_as_stored(ada, thread, socket)


async def test_it_accepts_a_cancelled_run(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        ack = await socket.say(thread, "[[deltas=500]] [[tokens_per_s=50]]")
        await socket.until(lambda f: f.get("event", {}).get("type") == "TEXT_MESSAGE_CHUNK")
        await socket.send(op="cancel", threadId=thread, runId=ack["runId"])
        await socket.finished()
    await assert_shown_as_stored(ada, thread, socket)


async def test_it_accepts_a_run_that_was_taken_over(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    text = 'go [[turns=2 save_note {"text":"x"}]] [[tokens_per_s=10]]'
    async with ada.socket() as socket:
        ack = await socket.say(thread, text)
        await socket.until(lambda f: f.get("event", {}).get("type") == "TOOL_CALL_RESULT")
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        await socket.finished()
    await assert_shown_as_stored(ada, thread, socket)


async def test_it_accepts_an_answer_that_a_caller_of_the_api_wanted_short(
    ada: Person, stack: Stack
) -> None:
    thread = new_thread_id()
    key = (await ada.http.post("/api/keys", json={"name": "program"})).json()["key"]
    caller = Caller(stack.gateway_urls[0], key)
    async with ada.socket() as socket:
        await socket.say(thread, "hello")
        await socket.finished()
        stream = await caller.client.responses.create(
            model="Assistant",
            input="[[deltas=9]]",
            max_output_tokens=2,
            conversation=thread,
            stream=True,
        )
        *_, end = [one async for one in stream]
        await socket.finished()
    assert end.type == "response.incomplete"
    again = await caller.client.responses.retrieve(end.response.id)
    await caller.close()
    for response in (end.response, again):
        assert response.status == "incomplete"
        assert response.incomplete_details
        assert response.incomplete_details.reason == "max_output_tokens"
        assert "word2" in response.output_text
        assert "word3" not in response.output_text
    await assert_shown_as_stored(ada, thread, socket)
