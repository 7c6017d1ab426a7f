"""Who may use which agent, alike at every door: the socket, REST, the OpenAI API and AG-UI."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from tests.gateway.realtime.conftest import World
from tests.scenarios.client import Person
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

#: Ada may use what is open and what names her; nobody else is ever let into what is closed.
ABOUT: dict[str, dict[str, Any]] = {
    "Open": {"aliases": ["open-model"]},
    "Hers": {"access": {"users": ["ada@example.com"]}},
    "Others": {"access": {"users": ["eve@example.com"]}, "aliases": ["others-model"]},
    "team/Hers": {},
    "closed/Hers": {"access": {"users": ["ada@example.com"]}},
    "Newer": {"access": {"groups": ["ada@example.com"]}},
}
RULES = """\
namespaces:
  team: {users: [example.com]}
  closed: {roles: [admin]}
"""
USABLE = ["Hers", "Open", "team/Hers"]
HIDDEN = ["Others", "closed/Hers", "Newer", "others-model", "Nobody"]


@pytest.fixture
def more_settings(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "security.yaml"
    file.write_text(RULES)
    return {"BATON_SECURITY_CONFIG": str(file)}


@pytest_asyncio.fixture(autouse=True)
async def _announced(world: World) -> None:
    await world.sql(
        "INSERT INTO runners (id, lease_until, version, slots, agents, broken) VALUES "
        "('runner_1', now() + interval '1 hour', 'dev', 4, %s, '{}')",
        orjson.dumps(ABOUT).decode(),
    )


# Each asks for what no agent could do, so that who is let in is refused for that.
async def by_socket(ada: Person, agent: str) -> str:
    async with ada.socket() as opened:
        given = {"threadId": "thr_1", "runId": "run_1", "messages": []}
        answer = await opened.answer(await opened.send(op="run", agent=agent, input=given))
        return str(answer["code"])


async def by_rest(ada: Person, agent: str) -> str:
    body = {"agent": agent, "input": {"messages": []}}
    return await _code(ada, "/api/threads/thr_1/runs", body)


async def by_chat(ada: Person, agent: str) -> str:
    said = [{"role": "user", "content": "Hello"}]
    form = {"type": "json_object"}
    return await _code(
        ada, "/v1/chat/completions", {"model": agent, "messages": said, "response_format": form}
    )


async def by_responses(ada: Person, agent: str) -> str:
    form = {"format": {"type": "json_object"}}
    return await _code(ada, "/v1/responses", {"model": agent, "input": "Hello", "text": form})


async def by_ag_ui(ada: Person, agent: str) -> str:
    return await _code(ada, f"/agui/{agent}", {"threadId": "thr_1", "messages": []})


async def _code(ada: Person, path: str, body: dict[str, Any]) -> str:
    answer = await ada.http.post(path, json=body)
    return f"{answer.status_code} {answer.json()['error']['code']}"


DOORS: dict[str, tuple[Callable[[Person, str], Awaitable[str]], str, str]] = {
    "socket": (by_socket, "bad_input", "unknown_agent"),
    "rest": (by_rest, "422 bad_input", "404 unknown_agent"),
    "chat": (by_chat, "400 invalid_value", "404 model_not_found"),
    "responses": (by_responses, "400 invalid_value", "404 model_not_found"),
    "ag-ui": (by_ag_ui, "422 bad_input", "404 unknown_agent"),
}


@pytest.mark.parametrize("door", DOORS)
async def test_an_agent_one_may_not_use_does_not_exist(ada: Person, door: str) -> None:
    ask, let_in, refused = DOORS[door]
    usable = {agent: await ask(ada, agent) for agent in [*USABLE, "open-model"]}
    assert usable == dict.fromkeys(usable, let_in)
    hidden = {agent: await ask(ada, agent) for agent in HIDDEN}
    assert hidden == dict.fromkeys(HIDDEN, refused)


async def test_rules_change_without_a_restart_and_a_mistake_changes_nothing(
    ada: Person, tmp_path: Path
) -> None:
    file = tmp_path / "security.yaml"

    async def problem() -> str | None:
        states = (await ada.get("/admin/agents"))["data"]
        found = [one["broken"][0]["reason"] for one in states if one["name"] == file.name]
        return found[0] if found else None

    file.write_text(RULES.replace("admin", "boss"))
    await until(problem)
    assert "line 3: namespaces.closed.roles.0" in str(await problem())
    assert await by_rest(ada, "closed/Hers") == "404 unknown_agent"
    file.write_text(RULES.replace("admin", "member"))

    async def opened() -> bool:
        return await by_rest(ada, "closed/Hers") == "422 bad_input"

    await until(opened)
    assert await problem() is None
    for door in DOORS.values():
        assert await door[0](ada, "closed/Hers") == door[1]


async def test_nor_is_it_listed(ada: Person) -> None:
    listed = [one["name"] for one in (await ada.get("/api/agents"))["data"]]
    assert listed == USABLE
    models = [one["id"] for one in (await ada.get("/v1/models"))["data"]]
    assert models == ["Hers", "Open", "open-model", "team/Hers"]
    assert (await ada.get("/v1/models/open-model"))["id"] == "open-model"
    for model in HIDDEN:
        assert (await ada.http.get(f"/v1/models/{model}")).status_code == 404
        assert (await ada.http.post("/api/threads", json={"agent": model})).status_code == 404
