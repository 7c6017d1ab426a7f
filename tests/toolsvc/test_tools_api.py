"""`GET /tools` and `POST /tools/{name}` as a runner sees them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from shared.bus.connect import commands_client
from shared.bus.limits import Limiter
from shared.tokens import mint_run_token
from tests.toolsvc.tool_rig import RUNNER_KEY, TOKEN_KEY, Rig, opened
from toolsvc.tool import ToolCall, tool

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


@tool(name="nested", description="Take a list of lists.", scope="a:b", on_error="model")
async def nested(call: ToolCall, rows: list[list[int]]) -> list[float]:
    return [float("nan"), float(len(rows))]


@pytest_asyncio.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with opened(database_url, nested) as made:
        yield made


async def catalogue(rig: Rig, bearer: str) -> list[Any]:
    answer = await rig.http.get("/tools", headers={"authorization": f"Bearer {bearer}"})
    assert answer.status_code == 200
    data: list[Any] = answer.json()["data"]
    return data


async def test_the_catalogue_shows_all_to_a_runner(rig: Rig) -> None:
    data = await catalogue(rig, RUNNER_KEY)
    assert {each["name"] for each in data} == rig.registry.tools.keys()
    (echo,) = (each for each in data if each["name"] == "echo_context")
    assert echo == {
        "name": "echo_context",
        "description": "Return the given text together with the context of this run.",
        "parameters": {
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "Any text; it comes back."},
            },
            "required": ["text"],
            "additionalProperties": False,
        },
        "scope": "context:read",
        "idempotent": True,
        "onError": "run",
    }


async def test_the_catalogue_shows_a_run_what_it_may_call(rig: Rig) -> None:
    token = rig.token(tools=("save_note", "get_profile"), scopes=("notes:write",))
    assert [each["name"] for each in await catalogue(rig, token)] == ["save_note"]


@pytest.mark.parametrize("bearer", ["", "Bearer", "Bearer x", "Basic abc", f"Token {RUNNER_KEY}"])
async def test_nobody_else_sees_the_catalogue(rig: Rig, bearer: str) -> None:
    answer = await rig.http.get("/tools", headers={"authorization": bearer})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error"]["code"] == "not_signed_in"


async def test_a_runners_key_calls_no_tool(rig: Rig) -> None:
    assert (await rig.refusal("get_profile", token=RUNNER_KEY))[0] == 401


@pytest.mark.parametrize("token", ["x" * 50, "a.b.c"])
async def test_a_bad_token_calls_no_tool(rig: Rig, token: str) -> None:
    status, error = await rig.refusal("get_profile", token=token)
    assert (status, error["code"]) == (401, "not_signed_in")
    assert token not in error["message"]


async def test_an_expired_and_a_foreign_token_call_no_tool(rig: Rig) -> None:
    expired = mint_run_token(TOKEN_KEY, rig.claims, life_s=-120)
    foreign = mint_run_token("another-key-with-at-least-32-bytes!", rig.claims)
    for token in (expired, foreign):
        assert (await rig.refusal("get_profile", token=token))[0] == 401


async def test_an_unknown_tool_is_refused(rig: Rig) -> None:
    status, error = await rig.refusal("no_such_tool")
    assert (status, error["code"], error["onError"]) == (404, "tool_unknown", "run")


@pytest.mark.parametrize(
    "grant",
    [{"tools": ("get_profile",)}, {"tools": ()}, {"scopes": ("notes:read",)}, {"scopes": ()}],
    ids=repr,
)
async def test_what_the_token_does_not_grant_is_forbidden(rig: Rig, grant: dict[str, Any]) -> None:
    token = rig.token(**grant)
    status, error = await rig.refusal("save_note", {"text": "milk"}, token=token)
    assert (status, error["code"], error["onError"]) == (403, "forbidden", "run")
    assert await rig.effects() == []


BODIES: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"[]", "must be"),
    (b"{}", "must be"),
    (b"7", "must be"),
    (b'{"arguments": []}', "must be"),
    (b'{"arguments": "{}"}', "must be"),
    (b'{"arguments": null}', "must be"),
    (b'{"arguments": {"text": NaN}}', "NaN"),
    (b'{"arguments": {"text": 1e999}}', "too large"),
    (b'{"arguments": {"text": "a", "text": "b"}}', "twice"),
    (b'{"arguments": {"text": "\\ud800"}}', "Unicode"),
    (b'{"arguments": {"text": "\\u0000"}}', "NUL"),
    (b'{"arguments": {"text": "\xff"}}', "Unicode"),
    (b'{"arguments": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
]


@pytest.mark.parametrize(("body", "problem"), BODIES, ids=lambda value: repr(value)[:40])
async def test_a_body_that_is_not_a_call_is_refused(rig: Rig, body: bytes, problem: str) -> None:
    headers = {"authorization": f"Bearer {rig.token()}", "idempotency-key": "call_x"}
    answer = await rig.http.post("/tools/save_note", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_input")
    assert problem in answer.json()["error"]["message"]
    assert await rig.effects() == []


async def test_a_body_that_is_too_large_is_refused(rig: Rig) -> None:
    status, error = await rig.refusal("save_note", {"text": "x" * 1_048_576})
    assert (status, error["code"]) == (413, "too_large")


async def test_deep_nesting_is_refused(rig: Rig) -> None:
    for depth in (3, 150, 900):
        rows: Any = 1
        for _ in range(depth):
            rows = [rows]
        status, error = await rig.refusal("nested", {"rows": rows})
        assert status == 422
        assert error["code"] in ("tool_invalid_arguments", "bad_input")
    assert await rig.effects() == []


ARGUMENTS: list[tuple[str, Any, str, str]] = [
    ("save_note", {}, "'text' is a required property", "run"),
    ("save_note", {"text": ""}, "arguments.text", "run"),
    ("save_note", {"text": "x" * 10_001}, "arguments.text", "run"),
    ("save_note", {"text": "x", "user": "ada"}, "'user' was unexpected", "run"),
    ("save_note", {"text": 7}, "arguments.text: 7 is not of type 'string'", "run"),
    ("search_notes", {"query": "x", "limit": 51}, "arguments.limit", "run"),
    ("delete_note", {"id": "../1"}, "arguments.id", "model"),
    ("update_profile", {"display_name": "x" * 81}, "arguments.display_name", "model"),
    ("update_profile", {"email": "eve@example.com"}, "'email' was unexpected", "model"),
    ("get_profile", {"user_id": "x"}, "'user_id' was unexpected", "run"),
]


@pytest.mark.parametrize(("name", "arguments", "problem", "on_error"), ARGUMENTS, ids=repr)
async def test_arguments_that_do_not_fit_are_refused_by_their_field(
    rig: Rig, name: str, arguments: Any, problem: str, on_error: str
) -> None:
    status, error = await rig.refusal(name, arguments)
    assert (status, error["code"]) == (422, "tool_invalid_arguments")
    assert problem in error["message"]
    assert error["onError"] == on_error
    assert await rig.effects() == []


HEADERS: list[tuple[str, str]] = [
    ("idempotency-key", ""),
    ("idempotency-key", "a b"),
    ("idempotency-key", "x" * 257),
    ("idempotency-key", "caf\xe9"),
    ("baton-scope", "x" * 2001),
    ("baton-scope", "\xe9"),
]


@pytest.mark.parametrize(("header", "value"), HEADERS, ids=lambda value: repr(value)[:20])
async def test_a_wrong_header_is_named(rig: Rig, header: str, value: str) -> None:
    headers = [
        (b"authorization", f"Bearer {rig.token()}".encode()),
        *([(b"idempotency-key", b"call_x")] if header != "idempotency-key" else []),
        (header.encode(), value.encode("latin-1")),
    ]
    answer = await rig.http.post("/tools/get_profile", json={"arguments": {}}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_input")
    assert header in answer.json()["error"]["message"]


async def test_without_an_idempotency_key_nothing_runs(rig: Rig) -> None:
    headers = {"authorization": f"Bearer {rig.token()}"}
    answer = await rig.http.post("/tools/get_profile", json={"arguments": {}}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "The header idempotency-key is missing."


async def test_a_result_without_json_numbers_stays_json(rig: Rig) -> None:
    assert await rig.result("nested", {"rows": [[1], [2, 3]]}) == [None, 2.0]


async def test_calls_are_measured_by_outcome(rig: Rig) -> None:
    def count(outcome: str) -> float:
        labels = {"tool": "get_profile", "outcome": outcome}
        return REGISTRY.get_sample_value("baton_tool_seconds_count", labels) or 0

    before = [count(outcome) for outcome in ("done", "replayed", "refused")]
    for _ in range(2):
        await rig.call("get_profile", call_id="call_x")
    await rig.call("get_profile", {"x": 1})
    assert [count(outcome) for outcome in ("done", "replayed", "refused")] == [
        number + 1 for number in before
    ]


async def test_calls_beyond_the_limit_of_a_person_are_told_when_to_come_back(
    database_url: str, redis_url: str
) -> None:
    redis = commands_client(redis_url, "baton-test")
    limited: dict[str, Any] = {"limiter": Limiter(redis), "tool_calls_per_minute": 2}
    async with opened(database_url, nested, **limited) as rig:
        await rig.result("nested", {"rows": []})
        await rig.result("nested", {"rows": []})
        refused = await rig.call("nested", {"rows": []})
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limited"
        assert "onError" not in refused.json()["error"]  # it is for the runner, which waits
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert len(await rig.effects()) == 2
        eve = await rig.add_person("eve@example.com")
        await rig.result("nested", {"rows": []}, token=mint_run_token(TOKEN_KEY, eve))
    await redis.aclose()
