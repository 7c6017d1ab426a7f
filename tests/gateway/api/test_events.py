"""Stored events: order, cursors, and what is not shown."""

from typing import Any

import httpx
import orjson
import pytest

from tests.gateway.rig import Rig, code_of, user_message

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

#: (fence, seq, seq_to); fence 3 is not settled.
ROWS = ((1, 1, 1), (1, 2, 6), (1, 7, 7), (2, 1, 1), (2, 2, 2), (3, 1, 1))


async def thread_with_events(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    for n in (1, 2):
        said = {"runId": f"run_{n}", "messages": [user_message(f"m{n}")]}
        await ada.post("/api/threads/thr_1/runs", json={"agent": "Assistant", "input": said})
    await rig.finish("run_1")
    await rig.begin("run_2")
    thread = await rig.thread("thr_1")
    for fence, seq, seq_to in ROWS:
        run = "run_1" if fence == 1 else "run_2"
        data = orjson.dumps({"type": "CUSTOM", "name": "x", "value": [fence, seq]}).decode()
        await rig.sql(
            "INSERT INTO events (thread_id, fence, seq, seq_to, run_id, type, data, salt, digest) "
            "SELECT :thread, :fence, :seq, :seq_to, id, 'CUSTOM', :data, '', '' FROM runs "
            "WHERE public_id = :run",
            thread=thread,
            fence=fence,
            seq=seq,
            seq_to=seq_to,
            run=run,
            data=data,
        )
    await rig.sql("UPDATE threads SET fence = 3, settled = 2, last_fence = 2, last_seq = 2")


async def ids(client: httpx.AsyncClient, path: str, **query: Any) -> list[str]:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["data"]]


async def test_settled_events_come_in_order_under_their_last_id(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await thread_with_events(rig, ada)
    page = (await ada.get("/api/threads/thr_1/events")).json()
    assert [row["id"] for row in page["data"]] == ["1-1", "1-6", "1-7", "2-1", "2-2"]
    assert page["data"][1]["event"] == {"type": "CUSTOM", "name": "x", "value": [1, 2]}
    assert page["next"] is None
    assert await ids(ada, "/api/threads/thr_1/events", after="1-6") == ["1-7", "2-1", "2-2"]
    assert await ids(ada, "/api/threads/thr_1/events", after="2-2") == []
    assert await ids(ada, "/api/threads/thr_1/events", after="0-0", limit=1) == ["1-1"]


async def test_pages(rig: Rig, ada: httpx.AsyncClient) -> None:
    await thread_with_events(rig, ada)
    page = (await ada.get("/api/threads/thr_1/events", params={"limit": 2})).json()
    assert page["next"] == "1-6"
    rest = (await ada.get("/api/threads/thr_1/events", params={"after": page["next"]})).json()
    assert [row["id"] for row in rest["data"]] == ["1-7", "2-1", "2-2"]


async def test_events_of_one_run(rig: Rig, ada: httpx.AsyncClient) -> None:
    await thread_with_events(rig, ada)
    assert await ids(ada, "/api/runs/run_1/events") == ["1-1", "1-6", "1-7"]
    assert await ids(ada, "/api/runs/run_2/events") == ["2-1", "2-2"]
    assert await ids(ada, "/api/runs/run_1/events", after="1-6") == ["1-7"]


@pytest.mark.parametrize(
    "after",
    ["", "x", "1", "1-", "-1", "1-1-1", "01-1", "1-01", "+1-1", "1-1 ", "1_1", "9" * 30 + "-1"],
)
async def test_a_malformed_cursor(rig: Rig, ada: httpx.AsyncClient, after: str) -> None:
    await thread_with_events(rig, ada)
    answer = await ada.get("/api/threads/thr_1/events", params={"after": after})
    assert (answer.status_code, code_of(answer)) == (400, "bad_cursor")


@pytest.mark.parametrize("after", ["4-1", "2-3", "1-8", "1-9999999999", "1-4", "0-1"])
async def test_a_cursor_that_was_never_shown(rig: Rig, ada: httpx.AsyncClient, after: str) -> None:
    await thread_with_events(rig, ada)
    for path in ("/api/threads/thr_1/events", "/api/runs/run_1/events"):
        answer = await ada.get(path, params={"after": after})
        assert (answer.status_code, code_of(answer)) == (400, "bad_cursor")


async def test_a_cursor_may_be_ahead_of_sql_while_a_run_goes_on(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await thread_with_events(rig, ada)
    assert await ids(ada, "/api/threads/thr_1/events", after="3-40") == []
    await rig.finish("run_2")
    answer = await ada.get("/api/threads/thr_1/events", params={"after": "3-40"})
    assert code_of(answer) == "bad_cursor"
