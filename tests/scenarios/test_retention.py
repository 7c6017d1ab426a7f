"""Old events go, and the rest of the thread is as it was: it goes on, resets, and proves itself."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.db.engine import engine
from shared.export import lines_of
from shared.judge import judge
from shared.protocol.ids import new_thread_id
from shared.receipts import KEYS_PATH
from shared.signing import PublicKey, SigningKey
from stack.running import Stack
from tests.scenarios.client import Person
from tests.scenarios.sql import thread_key
from toolsvc.retention.events import delete_oldest

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]


async def test_a_conversation_outlives_its_oldest_events(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        first = (await socket.say(thread, "hello"))["runId"]
        old = await socket.finished()
        before = (await ada.get(f"/api/runs/{first}/receipt"))["chain"]
        await _delete(stack, thread)
        second = (await socket.say(thread, "hello again"))["runId"]
        await socket.finished()
    messages = (await ada.get(f"/api/threads/{thread}/messages"))["data"]
    assert [one["role"] for one in messages] == ["user", "assistant", "user", "assistant"]

    answer = await ada.http.get(f"/api/runs/{first}/export")
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone")
    exported = await ada.http.get(f"/api/runs/{second}/export")
    keys = [PublicKey.of_jwk(one) for one in (await ada.get(KEYS_PATH))["keys"]]
    verdict = judge(lines_of([exported.content]), keys)
    assert verdict.problem is None
    assert verdict.trusted
    assert verdict.receipt
    assert verdict.receipt["before"] == before

    # The stream still has what SQL has no more; nobody may get it with a hole in it.
    for cursor in ("1-1", "1-2"):
        async with ada.socket(url=stack.gateway_urls[1]) as socket:
            await socket.answer(await socket.send(op="subscribe", threadId=thread, after=cursor))
            reset = await socket.until(lambda frame: frame["op"] == "reset")
            assert [one["id"] for one in reset["messages"]] == [one["id"] for one in messages]
            await socket.until(lambda frame: frame["op"] == "live")
            assert socket.events() == []
    async with ada.socket() as socket:
        await socket.answer(await socket.send(op="subscribe", threadId=thread, after=old["id"]))
        await socket.until(lambda frame: frame["op"] == "live")
        assert {one["event"].get("runId") for one in socket.events()} >= {second}


async def _delete(stack: Stack, thread: str) -> None:
    """What toolsvc does when its policy says so."""
    soon = datetime.now(UTC) + timedelta(minutes=1)
    async with engine(stack.database_url) as opened:
        key = SigningKey(stack.secrets.receipt_key)
        assert await delete_oldest(opened, await thread_key(stack, thread), soon, key)
