"""Too much is refused alike at every door: the socket, REST, the OpenAI API and AG-UI."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from shared.protocol.ids import new_id
from tests.gateway.realtime.conftest import World
from tests.scenarios.client import Person

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

ABOUT: dict[str, dict[str, Any]] = {
    "Open": {},
    "Rare": {"limits": {"requests_per_minute": 1}},
    "Lone": {"limits": {"runs_at_once": 1}},
    "Newer": {"limits": {"tokens": 1}},
}


@pytest.fixture
def more_settings() -> dict[str, Any]:
    return {"BATON_REQUESTS_PER_MINUTE": 3, "BATON_KEY_REQUESTS_PER_MINUTE": 1}


@pytest_asyncio.fixture(autouse=True)
async def _announced(world: World) -> None:
    await world.sql(
        "INSERT INTO runners (id, lease_until, version, slots, agents, broken) VALUES "
        "('runner_1', now() + interval '1 hour', 'dev', 4, %s, '{}')",
        orjson.dumps(ABOUT).decode(),
    )


Answer = tuple[int, dict[str, Any], httpx.Headers]


def _message() -> dict[str, Any]:
    return {"id": new_id("usr"), "role": "user", "content": "Hello"}


async def by_rest(http: httpx.AsyncClient, agent: str | None, thread: str = "") -> Answer:
    path = f"/api/threads/{thread or new_id('thr')}/runs"
    named = {"agent": agent} if agent else {}
    return await _post(http, path, named | {"input": {"messages": [_message()]}})


async def by_chat(http: httpx.AsyncClient, agent: str) -> Answer:
    said = [{"role": "user", "content": "Hello"}]
    return await _post(http, "/v1/chat/completions", {"model": agent, "messages": said})


async def by_responses(http: httpx.AsyncClient, agent: str) -> Answer:
    body = {"model": agent, "input": "Hello", "background": True}
    return await _post(http, "/v1/responses", body)


async def by_ag_ui(http: httpx.AsyncClient, agent: str) -> Answer:
    return await _post(http, f"/agui/{agent}", {"messages": [_message()]})


async def _post(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Answer:
    answer = await http.post(path, json=body)
    return answer.status_code, answer.json(), answer.headers


async def _runs(http: httpx.AsyncClient) -> int:
    return len((await http.get("/api/runs")).json()["data"])


DOORS: dict[str, tuple[Callable[[httpx.AsyncClient, str], Awaitable[Answer]], str]] = {
    "rest": (by_rest, "rate_limited"),
    "chat": (by_chat, "rate_limit_exceeded"),
    "responses": (by_responses, "rate_limit_exceeded"),
    "ag-ui": (by_ag_ui, "rate_limited"),
}


@pytest.mark.parametrize("door", DOORS)
async def test_who_asks_too_often_is_told_when_to_come_back(ada: Person, door: str) -> None:
    ask, code = DOORS[door]
    assert [(await by_rest(ada.http, "Open"))[0] for _ in range(3)] == [202] * 3
    status, body, headers = await ask(ada.http, "Open")
    assert (status, body["error"]["code"]) == (429, code)
    assert 1 <= int(headers["retry-after"]) <= 60
    assert "More than 3 requests a minute" in body["error"]["message"]
    if door in ("chat", "responses"):
        assert body["error"]["type"] == "requests"
        assert "x-should-retry" not in headers
    assert await _runs(ada.http) == 3


async def test_the_socket_counts_with_the_other_doors(ada: Person) -> None:
    await by_rest(ada.http, "Open")
    async with ada.socket() as opened:
        answers = [await opened.say(new_id("thr"), "Hello", agent="Open") for _ in range(3)]
    assert [one["op"] for one in answers] == ["ack", "ack", "error"]
    assert answers[-1]["code"] == "rate_limited"
    assert answers[-1]["retryable"] is True


async def test_each_key_and_each_person_has_limits_of_its_own(ada: Person) -> None:
    keys = [(await ada.http.post("/api/keys", json={})).json()["key"] for _ in range(2)]
    for key in keys:
        bearer = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=ada.url, headers=bearer, trust_env=False) as client:
            found = [(await by_responses(client, "Open"))[0] for _ in range(2)]
        assert found == [200, 429]
    eve = await Person(ada.url, "eve@example.com").sign_in()
    assert (await by_responses(eve.http, "Open"))[0] == 200
    await eve.http.aclose()


async def test_an_agent_has_limits_of_its_own_also_as_a_threads_agent(ada: Person) -> None:
    assert [(await by_rest(ada.http, "Rare", "thr_1"))[0]] == [202]
    status, body, _ = await by_rest(ada.http, None, "thr_1")
    assert (status, body["error"]["message"][:31]) == (429, "More than 1 agent requests a mi")


async def test_runs_that_go_on_or_wait_are_counted(ada: Person, world: World) -> None:
    assert (await by_rest(ada.http, "Lone"))[0] == 202
    status, body, headers = await by_rest(ada.http, "Lone")
    assert (status, body["error"]["code"], headers["retry-after"]) == (429, "rate_limited", "5")
    assert "1 runs of Lone go on or wait" in body["error"]["message"]
    await world.sql("UPDATE runs SET status = 'finished'")
    assert (await by_rest(ada.http, "Lone"))[0] == 202
