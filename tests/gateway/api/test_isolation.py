"""What is somebody else's is as unknown as what does not exist; without a sign-in, nothing."""

from typing import Any

import httpx
import pytest

from tests.gateway.rig import Rig, code_of, user_message

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

#: Every route with an id in its path, except the one that makes a thread of an unknown id.
BY_ID: list[tuple[str, str, Any]] = [
    ("GET", "/api/threads/{thread}", None),
    ("PATCH", "/api/threads/{thread}", {"title": "Mine now"}),
    ("DELETE", "/api/threads/{thread}", None),
    ("GET", "/api/threads/{thread}/messages", None),
    ("GET", "/api/threads/{thread}/events", None),
    ("GET", "/api/runs/{run}", None),
    ("GET", "/api/runs/{run}/events", None),
    ("GET", "/api/runs/{run}/trace", None),
    ("GET", "/api/runs/{run}/receipt", None),
    ("GET", "/api/runs/{run}/export", None),
    ("GET", "/api/runs/{run}/approvals", None),
    ("POST", "/api/runs/{run}/approvals", {"decisions": [{"id": "int_1", "approved": True}]}),
    ("POST", "/api/runs/{run}/cancel", None),
    ("POST", "/api/runs/{run}/requeue", None),
    ("DELETE", "/api/keys/{key}", None),
    ("GET", "/api/files/{file}", None),
    ("GET", "/api/files/{file}/about", None),
    ("DELETE", "/api/files/{file}", None),
]
CLOSED: list[tuple[str, str, Any]] = [
    ("GET", "/auth/me", None),
    ("GET", "/api/me", None),
    ("GET", "/api/agents", None),
    ("GET", "/api/threads", None),
    ("POST", "/api/threads", {"agent": "Assistant"}),
    ("POST", "/api/threads/{thread}/runs", {"input": {"messages": []}}),
    ("GET", "/api/runs", None),
    ("GET", "/api/keys", None),
    ("POST", "/api/keys", {}),
    ("GET", "/api/files", None),
    ("POST", "/api/files", None),
    ("POST", "/api/invites", {"email": "eve@example.com"}),
    ("GET", "/api/status", None),
    ("GET", "/admin/agents", None),
    ("GET", "/api/doctor", None),
    ("POST", "/api/doctor/fix", None),
    ("GET", "/api/effects", None),
    ("GET", "/api/poisoned", None),
    ("POST", "/api/effects/{key}/settle", {"outcome": "retry"}),
    *BY_ID,
]
#: What needs no sign-in: ways to one, and what is public by nature.
OPEN = {
    *("/auth/ways", "/auth/logout", "/auth/invite", "/auth/dev-login"),
    "/.well-known/baton-keys.json",
}


async def adas(rig: Rig, ada: httpx.AsyncClient) -> dict[str, str]:
    await rig.announce("Assistant")
    body = {"agent": "Assistant", "input": {"runId": "run_1", "messages": [user_message()]}}
    await ada.post("/api/threads/thr_1/runs", json=body)
    key = (await ada.post("/api/keys", json={})).json()["id"]
    return {"thread": "thr_1", "run": "run_1", "key": key, "file": await a_file(rig)}


async def a_file(rig: Rig) -> str:
    """A file that Ada's run has made."""
    id_ = await rig.sql(
        "INSERT INTO files (id, user_id, thread_id, root_id, media_type, size, sha256, content)"
        " SELECT gen_random_uuid(), user_id, thread_id, id, 'text/plain; charset=utf-8', 4, '',"
        " CAST('milk' AS bytea) FROM runs RETURNING id"
    )
    return f"file_{id_[0].id.hex}"


def body_of(answer: httpx.Response) -> Any:
    return answer.json()["error"] | {"requestId": ""}


async def test_what_is_somebody_elses_looks_like_what_does_not_exist(
    rig: Rig, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    theirs = await adas(rig, ada)
    unknown = {
        "thread": "thr_9",
        "run": "run_9",
        "key": "01993b7c-5d5e-7c0f-8a51-c6f7b1f2a3d4",
        "file": f"file_{'0' * 32}",
    }
    for method, path, body in BY_ID:
        foreign = await bob.request(method, path.format(**theirs), json=body)
        missing = await bob.request(method, path.format(**unknown), json=body)
        assert foreign.status_code == missing.status_code == 404, path
        assert body_of(foreign) == body_of(missing), path
    for path in ("/api/threads", "/api/runs", "/api/keys", "/api/files"):
        assert (await bob.get(path)).json() == {"data": [], "next": None}
    assert (await ada.get("/api/threads/thr_1")).json()["title"] != "Mine now"
    assert await rig.value("SELECT count(*) FROM runs WHERE cancel_requested_at IS NULL") == 1
    assert await rig.value("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL") == 1


async def test_an_id_of_somebody_elses_thread_makes_ones_own(
    rig: Rig, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    await adas(rig, ada)
    body = {"agent": "Assistant", "input": {"runId": "run_1", "messages": [user_message("b")]}}
    assert (await bob.post("/api/threads/thr_1/runs", json=body)).status_code == 202
    mine = (await bob.get("/api/threads/thr_1/messages")).json()["data"]
    assert [message["id"] for message in mine] == ["b"]
    assert await rig.value("SELECT count(*) FROM threads") == 2


async def test_without_a_sign_in_there_is_nothing(rig: Rig, ada: httpx.AsyncClient) -> None:
    theirs = await adas(rig, ada)
    nobody = await rig.client()
    for method, path, body in CLOSED:
        answer = await nobody.request(method, path.format(**theirs), json=body)
        assert (answer.status_code, code_of(answer)) == (401, "not_signed_in"), path


async def test_these_tables_name_every_route(rig: Rig) -> None:
    described = (await (await rig.client()).get("/openapi.json")).json()["paths"]
    routes = {
        (method.upper(), path)
        for path, methods in described.items()
        for method in methods
        if path not in OPEN
    }
    named = set()
    for method, path, _ in CLOSED:
        for word in ("{thread}", "{run}", "{key}", "{file}"):
            path = path if "effects" in path else path.replace(word, "{id}")
        named.add((method, path))
    assert named == routes
