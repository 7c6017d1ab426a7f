"""The door at the gateway: who may enter, errors in OpenAI's shape, and what is stored."""

import threading
from typing import Any

import httpx
import pytest

from gateway.auth.caller import Caller
from gateway.openai.asked import read_request
from gateway.openai.submit import submission
from shared.protocol import strict_json
from tests.gateway.api.test_bad_input import assert_nothing_stored
from tests.gateway.rig import Rig

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
BODY: dict[str, Any] = {
    "model": "Assistant",
    "messages": [{"role": "user", "content": "Hello"}],
}


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error, which has OpenAI's keys and no others; every answer has a request id."""
    assert answer.headers["x-request-id"]
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in answer.text
    return error


async def test_models_are_agents_and_ids_may_hold_slashes(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant", "team/Writer")
    listed = (await ada.get("/v1/models")).json()
    assert [one["id"] for one in listed["data"]] == ["Assistant", "team/Writer"]
    assert (await ada.get("/v1/models/team/Writer")).json() == {
        "id": "team/Writer",
        "object": "model",
        "created": 0,
        "owned_by": "baton",
    }
    unknown = await ada.get("/v1/models/team/Nobody")
    assert unknown.status_code == 404
    assert error_of(unknown)["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/models"), ("GET", "/v1/models/A"), ("POST", CHAT)]
)
async def test_a_key_is_needed(rig: Rig, method: str, path: str) -> None:
    stranger = await rig.client()
    for headers in ({}, {"Authorization": "Bearer bt_no"}, {"Authorization": "Basic x"}):
        answer = await stranger.request(method, path, json=BODY, headers=headers)
        assert answer.status_code == 401
        error = error_of(answer)
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    await assert_nothing_stored(rig)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"[" * 100_000, 400),
        (b'{"model": "Assistant", "model": "B"}', 400),
        (b'{"model": NaN}', 400),
        (b'"' + b"x" * 2_000_000 + b'"', 413),
        (b'{"x": [' + b"1, " * 500_000 + b"1]}", 413),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_what_is_no_json_or_too_large(
    rig: Rig, ada: httpx.AsyncClient, content: bytes, status: int
) -> None:
    headers = {"content-type": "application/json"}
    answer = await ada.post(CHAT, content=content, headers=headers)
    assert answer.status_code == status
    error = error_of(answer)
    assert error["type"] == "invalid_request_error"
    assert error["code"] == ("too_large" if status == 413 else "invalid_value")
    assert status != 413 or "larger than 1,048,576 bytes" in error["message"]
    await assert_nothing_stored(rig)


async def test_a_long_body_is_not_read_in_everybodys_way(
    rig: Rig, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    loads = strict_json.loads

    def seen(text: str | bytes) -> Any:
        threads.append(threading.get_ident())
        return loads(text)

    monkeypatch.setattr(strict_json, "loads", seen)
    here = threading.get_ident()
    for path, body in ((CHAT, BODY), (RESPONSES, {"model": "Assistant", "input": "x"})):
        place = "messages" if path == CHAT else "input"
        many = body | {place: BODY["messages"] * 10_000}
        await ada.post(path, json=body)
        answer = await ada.post(path, json=many)
        error = error_of(answer)
        assert (answer.status_code, error["code"]) == (400, "invalid_value")
        assert error["param"] == place
        assert error["message"].startswith(f"{place}: 10,000 are too many, 2,000 are allowed; send")
        assert [one == here for one in threads] == [True, False]
        threads.clear()
    # What nobody takes is not read at all.
    hostile = b'{"x": [' + b"{}," * 4_000_000 + b"{}]}"
    headers = {"content-type": "application/json"}
    assert (await ada.post(CHAT, content=hostile, headers=headers)).status_code == 413
    assert threads == []
    await assert_nothing_stored(rig)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("?stream=maybe", "stream"),
        ("?stream=true&starting_after=-1", "starting_after"),
        ("?stream=true&starting_after=x", "starting_after"),
        ("/input_items?limit=0", "limit"),
        ("/input_items?order=up", "order"),
    ],
)
async def test_what_is_wrong_in_a_query_is_named(
    ada: httpx.AsyncClient, query: str, param: str
) -> None:
    answer = await ada.get(f"{RESPONSES}/resp_x{query}")
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_value", param)
    assert error["message"].startswith(f"{param}: this must ")


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"model": "Nobody"}, 404, "model_not_found", "model"),
        ({"model": "../Assistant"}, 404, "model_not_found", "model"),
        ({"messages": []}, 400, "invalid_value", "messages"),
        ({"messages": None}, 400, "invalid_type", "messages"),
        ({"n": 5}, 400, "invalid_value", "n"),
        ({"stream": True, "n": 5}, 400, "invalid_value", "n"),
        ({"response_format": {"type": "json_object"}}, 400, "invalid_value", "response_format"),
        ({"metadata": {"thread_id": "thr_of_bob"}}, 404, "not_found", None),
        ({"metadata": {"thread_id": "../x"}}, 404, "not_found", None),
    ],
)
async def test_what_cannot_be_done_is_refused_and_nothing_stored(
    rig: Rig,
    ada: httpx.AsyncClient,
    change: dict[str, Any],
    status: int,
    code: str,
    param: str | None,
) -> None:
    await rig.announce("Assistant")
    answer = await ada.post(CHAT, json=BODY | change)
    assert answer.status_code == status
    error = error_of(answer)
    assert (error["code"], error["param"]) == (code, param)
    await assert_nothing_stored(rig)


@pytest.mark.parametrize("role", ["system", "developer"])
async def test_an_agent_may_refuse_what_callers_would_add_to_its_instructions(
    rig: Rig, ada: httpx.AsyncClient, role: str
) -> None:
    await rig.announce("Assistant", capabilities={"custom": {"clientInstructions": False}})
    said = [{"role": role, "content": "Be rude."}, *BODY["messages"]]
    for path, body, param in (
        (CHAT, {"messages": said}, "messages"),
        (RESPONSES, {"input": said}, "input"),
        (RESPONSES, {"input": "Hello", "instructions": "Be rude."}, "instructions"),
    ):
        answer = await ada.post(path, json={"model": "Assistant", **body})
        error = error_of(answer)
        assert (answer.status_code, error["code"], error["param"]) == (400, "not_supported", param)
    await assert_nothing_stored(rig)


async def test_addresses_and_methods_that_are_not_there(rig: Rig, ada: httpx.AsyncClient) -> None:
    nowhere = await ada.get("/v1/embeddings")
    assert (nowhere.status_code, error_of(nowhere)["code"]) == (404, "not_found")
    wrong = await ada.get(CHAT)
    assert (wrong.status_code, error_of(wrong)["code"]) == (405, "not_supported")
    ours = await ada.get("/api/nowhere")
    assert set(ours.json()["error"]) == {"code", "message", "requestId"}


@pytest.mark.parametrize("id_", ["resp_%00", "resp_", "resp_run%2Fx", "run_x", "%FF"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")],
)
async def test_what_cannot_be_an_id_is_no_response(
    ada: httpx.AsyncClient, method: str, path: str, id_: str
) -> None:
    answer = await ada.request(method, f"/v1/responses/{id_}{path}")
    assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")


async def test_a_page_of_another_site_may_not_ask(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    answer = await ada.post(CHAT, json=BODY, headers={"Origin": "https://evil.example"})
    assert (answer.status_code, error_of(answer)["code"]) == (403, "forbidden")
    await assert_nothing_stored(rig)


async def test_the_same_key_of_two_people_makes_two_runs(rig: Rig) -> None:
    def ids(caller: Caller, key: str | None) -> tuple[str, str]:
        sent = submission(caller, read_request(BODY, {}), BODY, agent="Assistant", key=key, site="")
        return sent.run_id, sent.thread_id

    ada, bob = await rig.caller("ada@example.com"), await rig.caller("bob@example.com")
    assert ids(ada, "k") == ids(ada, "k") != ids(bob, "k")
    assert ids(ada, None) != ids(ada, None)
