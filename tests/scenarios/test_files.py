"""Files reach the model whole, and are references everywhere else, also after a take-over."""

import base64
import signal
from typing import Any

import httpx
import pytest

from shared.protocol.ids import new_id, new_thread_id
from stack.running import Stack
from tests.gateway.api.test_files import PNG
from tests.scenarios.client import Person, assert_gapless
from tests.scenarios.sql import carrier, select

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

DATA = base64.b64encode(PNG).decode()
#: Everything of a run that SQL keeps but the file itself.
KEPT = {
    "events": "data",
    "messages": "content",
    "steps": "record",
    "spans": "data",
    "runs": "input",
}


async def asked(stack: Stack, text: str) -> list[str]:
    """Bodies of the model calls that hold a text."""
    async with httpx.AsyncClient(base_url=stack.demo_url or "", trust_env=False) as http:
        recorded = (await http.get("/_demo/requests")).json()["data"]
    bodies = [str(request["body"]) for request in recorded]
    return [body for body in bodies if text in body]


async def assert_kept_by_reference(stack: Stack) -> None:
    for table, column in KEPT.items():
        query = f"SELECT count(*) FROM {table} WHERE CAST({column} AS text) LIKE %s"
        assert await select(stack, query, f"%{DATA}%") == [(0,)], table


async def test_a_picture_is_shown_at_each_call_and_by_whoever_takes_over(
    ada: Person, stack: Stack
) -> None:
    made = (await ada.http.post("/api/files?name=cat.png", content=PNG)).json()
    thread, run = new_thread_id(), new_id("run")
    text = 'a cat [[turns=3 save_note {"text":"seen"}]] [[tokens_per_s=10]]'
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": text},
        {"type": "image", "source": {"type": "file", "value": made["id"]}},
    ]
    message = {"id": new_id("msg"), "role": "user", "content": parts}
    given = {"threadId": thread, "runId": run, "messages": [message]}
    async with ada.socket() as socket:
        await socket.send(op="run", agent="Assistant", input=given)
        for _ in range(2):
            await socket.until(lambda f: f.get("event", {}).get("type") == "TOOL_CALL_RESULT")
        stack.processes[await carrier(stack, run)].kill(signal.SIGKILL)
        end = await socket.finished()
    assert end["event"]["type"] == "RUN_FINISHED", end
    assert_gapless(socket.events())
    calls = await asked(stack, "a cat")
    assert len(calls) in (4, 5)  # once more the one that may have been cut by the kill
    assert all(DATA in body for body in calls)
    await assert_kept_by_reference(stack)


async def test_a_picture_in_a_completion_becomes_a_file(ada: Person, stack: Stack) -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
    ]
    body = {"model": "Assistant", "messages": [{"role": "user", "content": parts}]}
    answer = await ada.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert "[picture]" in answer.json()["choices"][0]["message"]["content"]
    thread = answer.headers["baton-thread"]
    (file,) = [one for one in (await ada.get("/api/files"))["data"] if one["threadId"] == thread]
    assert (await ada.http.get(f"/api/files/{file['id']}")).content == PNG
    await assert_kept_by_reference(stack)
