"""The record's routes answer like every other route, though fewer layers are around them."""

from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import REGISTRY

from shared.db.direct import Direct
from shared.web.middleware import Outermost
from tests.toolsvc.record_rig import RUNNER_KEY, RecordRig, refused
from toolsvc.runs.record import Record

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

SENT = {"authorization": f"Bearer {RUNNER_KEY}"}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/claims"), ("PUT", "/runners/r1"), ("POST", "/runs/x/fence")]
)
async def test_another_method_is_not_supported(rig: RecordRig, method: str, path: str) -> None:
    assert refused(await rig.http.request(method, path)) == (405, "not_supported")


@pytest.mark.parametrize(
    "path", ["/claims/x", "/runners", "/runners/a/b/heartbeat", "/runs//steps", "/", "/runsteps"]
)
async def test_other_paths_are_somebody_elses(rig: RecordRig, path: str) -> None:
    rig.app.add_api_route("/claims/x", lambda: "mine")
    answer = await rig.http.get(path)
    if path == "/claims/x":
        assert answer.json() == "mine"
    else:
        assert refused(answer) == (404, "not_found")


async def test_a_request_keeps_its_id_and_is_measured_by_its_route(rig: RecordRig) -> None:
    name, labels = "baton_http_request_seconds_count", {"process": "toolsvc", "method": "POST"}
    labels |= {"route": "heartbeat", "status": "200"}
    before = REGISTRY.get_sample_value(name, labels) or 0
    answer = await rig.http.post(
        "/runners/r9/heartbeat", json={"runs": []}, headers=SENT | {"x-request-id": "req_mine"}
    )
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "req_mine")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert REGISTRY.get_sample_value(name, labels) == before + 1
    refusal = await rig.http.post("/claims", headers={"x-request-id": "req_mine"})
    assert refusal.json()["error"]["requestId"] == "req_mine"
    assert refusal.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("chunks", [[b"x" * 100], [b"x" * 60, b"x" * 60]])
async def test_a_body_over_the_limit_is_refused_declared_or_not(
    rig: RecordRig, chunks: list[bytes]
) -> None:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    small = Outermost(Record(rig.app), process="toolsvc", body_limit=99)
    transport = httpx.ASGITransport(small)
    async with httpx.AsyncClient(transport=transport, base_url="http://toolsvc") as http:
        given = chunks[0] if len(chunks) == 1 else body()
        assert refused(await http.post("/claims", content=given, headers=SENT))[0] == 413


async def test_a_postgres_that_is_away_is_said_to_be(
    rig: RecordRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Direct("postgresql://postgres@127.0.0.1:1/x", size=1)
    monkeypatch.setattr(rig.services.direct, "line", nowhere.line)
    answer = await rig.http.post("/claims", json={"runner": "r1", "slots": 1}, headers=SENT)
    assert refused(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_a_mistake_of_ours_tells_nobody_what_it_was(
    rig: RecordRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken() -> None:
        raise ValueError("hunter22")

    monkeypatch.setattr(rig.services.direct, "transaction", mistaken)
    answer = await rig.http.post("/claims", json={"runner": "r1", "slots": 1}, headers=SENT)
    assert refused(answer) == (500, "internal")
    assert "hunter22" not in answer.text
