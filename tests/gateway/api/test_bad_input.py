"""Bad input over HTTP: every case a 4xx with a code, nothing stored, and the gateway goes on."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.gateway.rig import Rig, code_of, user_message

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

RUNS = "/api/threads/thr_1/runs"
OK = b'{"id": "m1", "role": "user", "content": "Hello"}'


def run_of(message: bytes = OK, rest: bytes = b"") -> bytes:
    return b'{"agent": "Assistant", "input": {"messages": [' + message + b"]" + rest + b"}}"


async def assert_nothing_stored(rig: Rig) -> None:
    for table in ("threads", "runs", "messages"):
        assert await rig.value(f"SELECT count(*) FROM {table}") == 0


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b"'x'",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 101 + b"]" * 101,
        run_of(rest=b', "state": ' + b"[" * 99 + b"]" * 99),
        run_of(rest=b', "state": NaN'),
        run_of(rest=b', "state": -Infinity'),
        run_of(rest=b', "state": 1e999'),
        run_of(rest=b', "state": 99999999999999999999'),
        run_of(rest=b', "state": ' + b"9" * 5000),
        run_of(rest=b', "runId": "a", "runId": "b"'),
        run_of(b'{"id": "m1", "role": "user", "content": "\\ud800"}'),
        run_of(b'{"id": "m1", "role": "user", "content": "\\u0000"}'),
        run_of(rest=b', "state": {"\\udfff": 1}'),
    ],
    ids=lambda body: repr(body[:40]) + repr(body[-30:]),
)
async def test_what_is_not_strict_json(rig: Rig, ada: httpx.AsyncClient, body: bytes) -> None:
    await rig.announce("Assistant")
    headers = {"content-type": "application/json"}
    answer = await ada.post(RUNS, content=body, headers=headers)
    assert (answer.status_code, code_of(answer)) == (400, "bad_input")
    await assert_nothing_stored(rig)
    assert (await ada.get("/api/me")).status_code == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 202),
        ("application/json; charset=utf-8", 202),
        ("Application/JSON", 202),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
        (None, 415),
    ],
)
async def test_json_only(
    rig: Rig, ada: httpx.AsyncClient, content_type: str | None, status: int
) -> None:
    await rig.announce("Assistant")
    headers = {"content-type": content_type} if content_type is not None else {}
    answer = await ada.post(RUNS, content=run_of(), headers=headers)
    assert answer.status_code == status
    if status != 202:
        assert code_of(answer) == "bad_input"


def with_message(**change: Any) -> dict[str, Any]:
    return {"agent": "Assistant", "input": {"messages": [user_message() | change]}}


def with_input(**change: Any) -> dict[str, Any]:
    return {"agent": "Assistant", "input": {"messages": [user_message()]} | change}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ([], 422, "bad_input"),
        ("x", 422, "bad_input"),
        (None, 422, "bad_input"),
        ({}, 422, "bad_input"),
        ({"agent": "Assistant"}, 422, "bad_input"),
        ({"agent": "Assistant", "input": []}, 422, "bad_input"),
        ({"agent": "Assistant", "input": {}}, 422, "bad_input"),
        ({"agent": 7, "input": {"messages": [user_message()]}}, 422, "bad_input"),
        ({"agent": "", "input": {"messages": [user_message()]}}, 422, "bad_input"),
        ({"agent": "x" * 129, "input": {"messages": [user_message()]}}, 422, "bad_input"),
        ({"agent": "Nobody", "input": {"messages": [user_message()]}}, 404, "unknown_agent"),
        ({"agent": None, "input": {"messages": [user_message()]}}, 422, "bad_input"),
        (with_input() | {"ifBusy": "wait"}, 422, "bad_input"),
        (with_input() | {"ifBusy": "rollback"}, 422, "not_supported"),
        (with_input() | {"ifBusy": "steer"}, 422, "not_supported"),
        (with_input() | {"surprise": 1}, 422, "bad_input"),
        (with_input(messages=[]), 422, "bad_input"),
        (with_input(messages=None), 422, "bad_input"),
        (with_input(messages="x"), 422, "bad_input"),
        (with_input(messages=["x"]), 422, "bad_input"),
        (with_input(messages=[{}]), 422, "bad_input"),
        (with_input(runId=7), 422, "bad_input"),
        (with_input(runId=""), 422, "bad_input"),
        (with_input(runId="a/b"), 422, "bad_input"),
        (with_input(runId="x" * 65), 422, "bad_input"),
        (with_input(runId="rün"), 422, "bad_input"),
        (with_input(threadId="thr_2"), 422, "bad_input"),
        (with_input(resume=[{"interruptId": "i", "status": "resolved"}]), 422, "bad_input"),
        (with_input(resume=[{"interruptId": "i", "status": "cancelled"}]), 404, "not_found"),
        (with_input(context="x"), 422, "bad_input"),
        (with_message(role="assistant"), 422, "bad_input"),
        (with_message(role="system"), 422, "bad_input"),
        (with_message(role="nobody"), 422, "bad_input"),
        (with_message(role=None), 422, "bad_input"),
        (with_message(id=None), 422, "bad_input"),
        (with_message(id="a b"), 422, "bad_input"),
        (with_message(content=None), 422, "bad_input"),
        (with_message(content=7), 422, "bad_input"),
        (with_message(content=""), 422, "bad_input"),
        (with_message(content=[{"type": "nonsense"}]), 422, "bad_input"),
        (
            with_message(
                content=[{"type": "image", "source": {"type": "url", "value": "http://x/y"}}]
            ),
            400,
            "url_refused",
        ),
        # Events of ours, given as if they were messages.
        (with_input(messages=[{"type": "RUN_FINISHED", "runId": "r"}]), 422, "bad_input"),
        (
            with_input(messages=[{"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "delta": "x"}]),
            422,
            "bad_input",
        ),
    ],
)
async def test_what_a_run_may_not_be(
    rig: Rig, ada: httpx.AsyncClient, body: Any, status: int, code: str
) -> None:
    await rig.announce("Assistant")
    answer = await ada.post(RUNS, json=body)
    assert (answer.status_code, code_of(answer)) == (status, code), answer.text
    await assert_nothing_stored(rig)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"agent": None},
        {"agent": ["Assistant"]},
        {"agent": "Assistant", "id": "a b"},
        {"agent": "Assistant", "id": ""},
        {"agent": "Assistant", "id": "a\n"},
        {"agent": "Assistant", "title": {}},
        {"agent": "Assistant", "surprise": True},
    ],
)
async def test_what_a_thread_may_not_be(rig: Rig, ada: httpx.AsyncClient, body: Any) -> None:
    await rig.announce("Assistant")
    answer = await ada.post("/api/threads", json=body)
    assert (answer.status_code, code_of(answer)) == (422, "bad_input")
    await assert_nothing_stored(rig)


@pytest.mark.parametrize(
    "body",
    [
        {"name": 7},
        {"name": "x" * 101},
        {"email": "nobody"},
        {"email": 7},
        {"expiresInDays": 0},
        {"expiresInDays": -1},
        {"expiresInDays": 1e9},
        {"expiresInDays": "7"},
        {"surprise": True},
    ],
)
async def test_what_a_key_may_not_be(rig: Rig, ada: httpx.AsyncClient, body: Any) -> None:
    answer = await ada.post("/api/keys", json=body)
    assert (answer.status_code, code_of(answer)) == (422, "bad_input")
    assert await rig.value("SELECT count(*) FROM api_keys") == 0


async def test_a_declared_body_over_one_mebibyte_is_not_read(ada: httpx.AsyncClient) -> None:
    answer = await ada.post(
        RUNS,
        content=b"x",
        headers={"content-type": "application/json", "content-length": "1048577"},
    )
    assert (answer.status_code, code_of(answer)) == (413, "too_large")


async def test_an_undeclared_body_over_one_mebibyte_is_cut(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 65536
            yield b"[" * 65536

    answer = await ada.post(RUNS, content=body(), headers={"content-type": "application/json"})
    assert (answer.status_code, code_of(answer)) == (413, "too_large")
    await assert_nothing_stored(rig)


async def test_a_body_of_just_under_one_mebibyte_is_taken(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    text = "x" * (1_048_576 - 200)
    answer = await ada.post(RUNS, json=with_message(content=text))
    assert answer.status_code == 202


def said(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["message"])


async def test_a_nul_in_the_query_is_refused(ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/api/runs/run_1/requeue", params={"user": "a\0b"})
    assert (answer.status_code, code_of(answer)) == (422, "bad_input")


@pytest.mark.parametrize("id_", ["a b", "a%00", "a%2Fb", "..", "%2e%2e", "é", "x" * 65, "a'--"])
async def test_a_malformed_id_in_a_path_is_as_unknown_as_any_other(
    ada: httpx.AsyncClient, id_: str
) -> None:
    unknown = await ada.get("/api/threads/unknown")
    expected = said(unknown)
    if id_ in ("a%2Fb", ".."):  # no id, but more or less of a path
        expected = "There is no such address."
    for path in (
        "/api/threads/{}",
        "/api/threads/{}/messages",
        "/api/runs/{}",
        "/api/runs/{}/trace",
    ):
        answer = await ada.get(path.format(id_))
        assert (answer.status_code, code_of(answer)) == (404, "not_found")
        assert said(answer) == expected


async def test_unknown_paths_and_methods(ada: httpx.AsyncClient) -> None:
    for path in ("/api/nothing", "/nope", "/foo/api/threads"):
        answer = await ada.get(path)
        assert (code_of(answer), said(answer)) == ("not_found", "There is no such address.")
    answer = await ada.put("/api/threads", json={})
    assert (answer.status_code, code_of(answer)) == (405, "not_supported")
    assert said(answer) == "This address does not take such requests."
    assert (await ada.request("BREW", "/api/threads")).status_code == 405


async def test_a_request_id_is_kept_when_it_is_harmless(ada: httpx.AsyncClient) -> None:
    kept = await ada.get("/api/runs/x", headers={"x-request-id": "abc-1"})
    assert kept.headers["x-request-id"] == kept.json()["error"]["requestId"] == "abc-1"
    made = await ada.get("/api/runs/x", headers={"x-request-id": "<script>"})
    assert made.headers["x-request-id"].startswith("req_")
