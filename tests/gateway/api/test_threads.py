"""Threads over REST."""

import httpx
import pytest

from tests.gateway.rig import Rig, code_of

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


async def test_a_thread_from_first_to_last(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    made = await ada.post("/api/threads", json={"agent": "Assistant", "title": " Plans "})
    assert made.status_code == 201
    thread = made.json()
    assert thread["id"].startswith("thr_")
    assert (thread["agent"], thread["title"]) == ("Assistant", "Plans")
    path = f"/api/threads/{thread['id']}"
    assert (await ada.get(path)).json() == thread
    changed = (await ada.patch(path, json={"title": "Holidays"})).json()
    assert changed["title"] == "Holidays"
    assert changed["updatedAt"] > thread["updatedAt"]
    assert (await ada.patch(path, json={"title": None})).json()["title"] is None
    assert (await ada.delete(path)).status_code == 204
    for again in (ada.get(path), ada.delete(path), ada.patch(path, json={"title": "x"})):
        assert code_of(await again) == "not_found"
    assert (await ada.get("/api/threads")).json() == {"data": [], "next": None}


async def test_the_same_id_again(rig: Rig, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    await rig.announce("Assistant", "Other")
    body = {"agent": "Assistant", "id": "mine"}
    first = await ada.post("/api/threads", json=body)
    again = await ada.post("/api/threads", json=body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    for other in (body | {"title": "x"}, body | {"agent": "Other"}):
        answer = await ada.post("/api/threads", json=other)
        assert (answer.status_code, code_of(answer)) == (409, "conflict")
    assert (await bob.post("/api/threads", json=body)).status_code == 201
    await ada.delete("/api/threads/mine")
    assert code_of(await ada.post("/api/threads", json=body)) == "conflict"


async def test_pages_follow_one_another_without_gap_or_repeat(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant")
    for n in range(7):
        await ada.post("/api/threads", json={"agent": "Assistant", "id": f"t{n}"})
    await rig.sql("UPDATE threads SET updated_at = '2026-01-01' WHERE public_id < 't5'")
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await ada.get("/api/threads", params=query)).json()
        seen += [thread["id"] for thread in page["data"]]
        cursor = page["next"]
    assert cursor is None
    assert seen == ["t6", "t5", "t4", "t3", "t2", "t1", "t0"]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "",
        "!!!",
        "MjAyNi0wMS0wMXx4",
        "é",
        "A" * 200,
        "MjAyNi0wMS0wMXwwMTk5M2I3YzVkNWU3YzBmOGE1MWM2ZjdiMWYyYTNkNA",
    ],
)
async def test_a_cursor_that_is_none_is_refused(ada: httpx.AsyncClient, cursor: str) -> None:
    for path in ("/api/threads", "/api/runs", "/api/keys"):
        answer = await ada.get(path, params={"cursor": cursor})
        assert (answer.status_code, code_of(answer)) == (400, "bad_cursor")


async def test_deleting_a_thread_stops_its_runs(
    rig: Rig, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.announce("Assistant")
    for n in (1, 2):
        await ada.post(
            "/api/threads/mine/runs",
            json={
                "agent": "Assistant",
                "input": {
                    "runId": f"r{n}",
                    "messages": [{"id": f"m{n}", "role": "user", "content": "x"}],
                },
            },
        )
    await ada.delete("/api/threads/mine")
    assert await rig.value("SELECT count(*) FROM runs WHERE cancel_requested_at IS NULL") == 0
    assert code_of(await ada.get("/api/runs/r1")) == "not_found"
    assert (await ada.get("/api/runs")).json()["data"] == []


async def test_a_title_is_one_to_two_hundred_characters(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    for title, status in (
        ("x" * 200, 201),
        ("x\r\n\t " * 100, 201),
        ("x" * 201, 422),
        ("", 422),
        ("  ", 422),
        ("\r\n\x1c\u2028", 422),
        (7, 422),
    ):
        answer = await ada.post("/api/threads", json={"agent": "Assistant", "title": title})
        assert answer.status_code == status


async def test_titles_and_names_are_one_line(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    typed, kept = " Plans\r\n for\tthe\u2028week \u200d", "Plans for the week \u200d"
    made = await ada.post("/api/threads", json={"agent": "Assistant", "title": typed})
    assert made.json()["title"] == kept
    path = f"/api/threads/{made.json()['id']}"
    assert (await ada.patch(path, json={"title": typed})).json()["title"] == kept
    assert (await ada.post("/api/keys", json={"name": typed})).json()["name"] == kept
    for harmful in ("a\x1b[31mb", "a\x7f", "a\x9bb", "a\x08b", "a\u202eb"):
        for answer in (
            await ada.post("/api/threads", json={"agent": "Assistant", "title": harmful}),
            await ada.patch(path, json={"title": harmful}),
            await ada.post("/api/keys", json={"name": harmful}),
        ):
            assert (answer.status_code, code_of(answer)) == (422, "bad_input")
            assert "control characters are not allowed" in answer.text
