"""Runs over REST."""

from typing import Any

import httpx
import pytest

from tests.gateway.rig import Rig, code_of, user_message, wait_until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


def body(run: str | None = "run_1", **more: Any) -> dict[str, Any]:
    said = {"messages": [user_message(f"m_{run}")]} | ({"runId": run} if run else {})
    return {"agent": "Assistant", "input": said} | more


async def test_a_run_is_accepted_and_can_be_read(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    made = await ada.post("/api/threads/thr_1/runs", json=body())
    assert made.status_code == 202
    assert made.json() == {
        "runId": "run_1",
        "threadId": "thr_1",
        "status": "queued",
        "queued": False,
        "waitsFor": [],
    }
    key = await rig.value("SELECT id FROM runs")
    run = (await ada.get("/api/runs/run_1")).json()
    assert run["traceId"] == f"trace_{key.hex}"
    assert (run["threadId"], run["agent"], run["error"]) == ("thr_1", "Assistant", None)
    assert run["links"]["events"] == "/api/runs/run_1/events"
    for link in run["links"].values():
        assert (await ada.get(link)).status_code == 200
    await rig.sql(
        "UPDATE runs SET status = 'failed', error_code = 'agent_error', error_message = 'Oh', "
        "usage = '[{\"inputTokens\": 7}]', ended_at = now()"
    )
    run = (await ada.get("/api/runs/run_1")).json()
    assert run["error"] == {"code": "agent_error", "message": "Oh"}
    assert run["usage"] == [{"inputTokens": 7}]
    assert run["endedAt"]


async def test_ids_are_filled_in(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    made = (await ada.post("/api/threads/thr_1/runs", json=body(None))).json()
    assert made["runId"].startswith("run_")
    again = body() | {"input": body()["input"] | {"threadId": "thr_2"}}
    answer = await ada.post("/api/threads/thr_1/runs", json=again)
    assert (answer.status_code, code_of(answer)) == (422, "bad_input")


async def test_repeats_conflicts_and_busy_threads(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    path = "/api/threads/thr_1/runs"
    first = await ada.post(path, json=body())
    again = await ada.post(path, json=body())
    assert (again.status_code, again.json()) == (202, first.json())
    other = body() | {"input": {"runId": "run_1", "messages": [user_message("m", "else")]}}
    assert code_of(await ada.post(path, json=other)) == "conflict"
    busy = await ada.post(path, json=body("run_2", ifBusy="reject"))
    assert (busy.status_code, code_of(busy)) == (409, "busy")
    waits = await ada.post(path, json=body("run_3"))
    assert waits.json()["queued"] is True


async def test_lists_are_by_status_and_thread(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    for n, thread in ((1, "a"), (2, "a"), (3, "b")):
        await ada.post(f"/api/threads/{thread}/runs", json=body(f"run_{n}"))
    await rig.finish("run_1")

    async def listed(**query: Any) -> list[str]:
        page = (await ada.get("/api/runs", params=query)).json()
        return [run["id"] for run in page["data"]]

    assert await listed() == ["run_3", "run_2", "run_1"]
    assert await listed(status="finished") == ["run_1"]
    assert await listed(status="live") == ["run_3", "run_2"]
    assert await listed(threadId="a", status="queued") == ["run_2"]
    assert await listed(threadId="unknown") == []
    page = (await ada.get("/api/runs", params={"limit": 2})).json()
    rest = (await ada.get("/api/runs", params={"cursor": page["next"]})).json()
    assert [run["id"] for run in rest["data"]] == ["run_1"]
    assert rest["next"] is None
    for bad in ({"status": "bad"}, {"limit": 0}, {"limit": 101}, {"threadId": "a b"}):
        assert (await ada.get("/api/runs", params=bad)).status_code == 422


async def test_stopping_a_run(
    rig: Rig, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.announce("Assistant")
    await ada.post("/api/threads/thr_1/runs", json=body())
    await rig.begin("run_1")
    asked: list[httpx.Request] = []

    def toolsvc(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if request.url.port == 1:
            raise httpx.ConnectError("nobody there")
        return httpx.Response(503 if request.url.port == 2 else 202)

    rig.services.toolsvc = httpx.AsyncClient(transport=httpx.MockTransport(toolsvc))
    urls = ("http://tools:1", "http://tools:2/", "http://tools:3", "http://tools:4")
    rig.services.settings = rig.services.settings.model_copy(update={"toolsvc_urls": urls})
    answer = await ada.post("/api/runs/run_1/cancel")
    assert answer.status_code == 202
    assert answer.json() == {"runId": "run_1", "threadId": "thr_1", "status": "running"}
    await wait_until(lambda: len(asked) == 3)
    key = await rig.value("SELECT id FROM runs")
    assert {request.url.path for request in asked} == {f"/runs/{key}/close"}
    assert asked[-1].headers["authorization"] == "Bearer gateway-key-gateway-key-gateway-key"
    await rig.finish("run_1", "cancelled")
    late = await ada.post("/api/runs/run_1/cancel")
    assert (late.status_code, late.json()["status"]) == (202, "cancelled")
