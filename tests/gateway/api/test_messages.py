"""Messages of a thread: the path, and what waits."""

import httpx
import orjson
import pytest

from tests.gateway.rig import Rig, code_of, user_message

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


async def conversation(rig: Rig, ada: httpx.AsyncClient) -> None:
    """A path m0 … m6 with a dead branch at m3, and a run that waits."""
    await rig.announce("Assistant")
    await ada.post("/api/threads", json={"agent": "Assistant", "id": "thr_1"})
    thread = await rig.thread("thr_1")
    rows = [(f"m{n}", f"m{n - 1}" if n else None) for n in range(7)] + [("branch", "m3")]
    for id_, parent in rows:
        await rig.sql(
            "INSERT INTO messages (thread_id, id, parent, role, content) "
            "VALUES (:thread, :id, :parent, 'user', :content)",
            thread=thread,
            id=id_,
            parent=parent,
            content=orjson.dumps(user_message(id_)).decode(),
        )
    await rig.sql("UPDATE threads SET head = 'm6'")
    said = {"runId": "run_1", "messages": [user_message("wait_1"), user_message("wait_2")]}
    await ada.post("/api/threads/thr_1/runs", json={"input": said})


async def test_the_path_and_what_waits(rig: Rig, ada: httpx.AsyncClient) -> None:
    await conversation(rig, ada)
    page = (await ada.get("/api/threads/thr_1/messages")).json()
    ids = [message["id"] for message in page["data"]]
    assert ids == ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "wait_1", "wait_2"]
    assert page["next"] is None
    assert page["data"][0] == user_message("m0")


async def test_older_messages_come_page_by_page(rig: Rig, ada: httpx.AsyncClient) -> None:
    await conversation(rig, ada)
    pages = []
    query: dict[str, str | int] = {"limit": 3}
    while True:
        page = (await ada.get("/api/threads/thr_1/messages", params=query)).json()
        pages.append([message["id"] for message in page["data"]])
        if page["next"] is None:
            break
        query["before"] = page["next"]
    assert pages == [["m4", "m5", "m6", "wait_1", "wait_2"], ["m1", "m2", "m3"], ["m0"]]


async def test_a_message_is_never_shown_twice(rig: Rig, ada: httpx.AsyncClient) -> None:
    await conversation(rig, ada)
    await rig.begin("run_1")
    await rig.sql("UPDATE messages SET parent = 'm6' WHERE id = 'wait_1'")
    await rig.sql("UPDATE messages SET parent = 'wait_1' WHERE id = 'wait_2'")
    await rig.sql("UPDATE threads SET head = 'wait_2'")
    page = (await ada.get("/api/threads/thr_1/messages")).json()
    assert [message["id"] for message in page["data"]][-3:] == ["m6", "wait_1", "wait_2"]
    assert len(page["data"]) == 9


async def test_bad_questions(rig: Rig, ada: httpx.AsyncClient) -> None:
    await conversation(rig, ada)
    path = "/api/threads/thr_1/messages"
    assert (await ada.get(path, params={"before": "unknown"})).json()["data"] == []
    for bad in ({"before": "a b"}, {"before": "\x00"}, {"limit": 0}, {"limit": 101}):
        answer = await ada.get(path, params=bad)
        assert (answer.status_code, code_of(answer)) == (422, "bad_input")
