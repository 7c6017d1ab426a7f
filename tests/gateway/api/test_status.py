"""Agents and what goes on."""

import httpx
import orjson
import pytest

from shared.settings import GatewaySettings
from tests.gateway.rig import Rig, opened_rig, user_message

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


async def test_agents_are_what_runners_announced_the_newest_lease_wins(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant", "Zoo")
    await rig.announce("Bygone", runner="runner_2", lease="-2 days")
    await rig.announce("Replaced", runner="runner_5", lease="-1 hour")
    await rig.announce("Resting", runner="runner_3", lease="-1 minute")
    newer = {
        "Assistant": {
            "title": "New",
            "digest": "d2",
            "starters": ["Hi"],
            "capabilities": {"transport": {"streaming": True}},
            "surprise": 1,
        }
    }
    await rig.sql(
        "INSERT INTO runners (id, lease_until, version, slots, agents) "
        "VALUES ('runner_4', now() + interval '5 s', '', 1, :agents)",
        agents=orjson.dumps(newer).decode(),
    )
    found = (await ada.get("/api/agents")).json()
    assert [agent["name"] for agent in found["data"]] == ["Assistant", "Resting", "Zoo"]
    assert found["data"][0] == {
        "name": "Assistant",
        "title": "New",
        "description": None,
        "digest": "d2",
        "starters": ["Hi"],
        "capabilities": {"transport": {"streaming": True}},
    }


async def test_status_shows_processes_broken_agents_and_the_queue(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant")
    await rig.announce("Gone", runner="runner_2", lease="-1 minute")
    await rig.sql(
        "UPDATE runners SET broken = :broken WHERE id = 'runner_1'",
        broken='{"Broken": "src/agents/Broken/agent.py:3: ImportError: no module x"}',
    )
    for n in (1, 2, 3):
        said = {"runId": f"run_{n}", "messages": [user_message(f"m{n}")]}
        await ada.post(f"/api/threads/t{n}/runs", json={"agent": "Assistant", "input": said})
    await rig.begin("run_1")
    found = (await ada.get("/api/status")).json()
    assert found["scope"] == "all"
    assert found["queue"]["waiting"] == 2
    assert found["queue"]["oldestS"] >= 0
    assert (found["queue"]["running"], found["queue"]["stranded"]) == (1, 1)
    assert found["leases"] == 1
    alive, gone = found["processes"]
    assert (alive["id"], alive["alive"], alive["agents"]) == ("runner_1", True, ["Assistant"])
    assert "agent.py:3" in alive["broken"]["Broken"]
    assert (gone["id"], gone["alive"]) == ("runner_2", False)
    assert found["gateway"]["redisReady"] is True


async def test_without_admin_rights_one_sees_ones_own(settings: GatewaySettings) -> None:
    async with opened_rig(settings.model_copy(update={"dev_mode": False})) as rig:
        operator = await rig.operator()
        key = (await operator.post("/api/keys", json={"email": "a@example.com"})).json()["key"]
        ada = await rig.client(headers={"authorization": f"Bearer {key}"})
        await rig.announce("Assistant")
        said = {"runId": "run_1", "messages": [user_message("m1")]}
        for client, thread in ((operator, "t1"), (ada, "t2")):
            body = {"agent": "Assistant", "input": said}
            answer = await client.post(f"/api/threads/{thread}/runs", json=body)
            assert answer.status_code == 202
        mine = (await ada.get("/api/status")).json()
        assert (mine["scope"], mine["queue"]["waiting"]) == ("mine", 1)
        assert mine["processes"] is mine["leases"] is None
        assert (await operator.get("/api/status")).json()["queue"]["waiting"] == 2


async def test_status_shows_model_servers_that_are_down_or_held_back(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.sql(
        "INSERT INTO model_providers (name, open_until, held_until) VALUES "
        "('down', now() + interval '9 s', NULL), ('tried', now() - interval '9 s', NULL), "
        "('held', NULL, now() + interval '9 s'), ('works', NULL, now() - interval '9 s')"
    )
    await rig.sql(
        "INSERT INTO provider_loads (provider, runner, active, waiting, failed, answered, seen_at) "
        "VALUES ('down', 'a', 1, 2, 0, 0, now()), ('down', 'b', 0, 3, 0, 0, now()), "
        "('down', 'gone', 9, 9, 0, 0, now() - interval '1 minute')"
    )
    found = (await ada.get("/api/status")).json()["modelServers"]
    assert [(one["name"], one["state"], one["seconds"] > 0) for one in found] == [
        ("down", "down", True),
        ("held", "held", True),
        ("tried", "down", False),
        ("works", "works", False),
    ]
    assert (found[0]["active"], found[0]["waiting"]) == (1, 5)


async def test_admins_see_who_serves_an_agent_and_why_its_newest_code_is_not_served(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant")
    await rig.announce("Assistant", runner="runner_2")
    await rig.announce("Gone", runner="runner_3", lease="-1 minute")
    await rig.sql(
        "UPDATE runners SET broken = :broken WHERE id = 'runner_1'",
        broken=orjson.dumps({"Assistant": "agent.py:3: No\n  File x", "Lost": "no"}).decode(),
    )
    found = {one["name"]: one for one in (await ada.get("/admin/agents")).json()["data"]}
    assert sorted(found) == ["Assistant", "Lost"]
    (served,) = found["Assistant"]["served"]
    assert sorted(served["runners"]) == ["runner_1", "runner_2"]
    assert found["Assistant"]["broken"] == [
        {"reason": "agent.py:3: No", "traceback": "  File x", "runners": ["runner_1"]}
    ]
    assert found["Lost"]["served"] == []


async def test_admins_see_what_is_wrong_with_the_rules(rig: Rig, ada: httpx.AsyncClient) -> None:
    rig.services.security_problem = "security.yaml, line 3: no."
    (own,) = (await ada.get("/admin/agents")).json()["data"]
    assert (own["name"], own["broken"][0]["runners"]) == ("security.yaml", [])
    assert own["broken"][0]["reason"] == "security.yaml, line 3: no."
    await rig.announce("Assistant")
    await rig.sql(
        "UPDATE runners SET broken = :broken WHERE id = 'runner_1'",
        broken=orjson.dumps({"security.yaml": "line 3: no."}).decode(),
    )
    _, theirs = (await ada.get("/admin/agents")).json()["data"]
    assert (theirs["name"], theirs["broken"][0]["runners"]) == ("security.yaml", ["runner_1"])


async def test_others_do_not_see_it(settings: GatewaySettings) -> None:
    async with opened_rig(settings.model_copy(update={"dev_mode": False})) as rig:
        operator = await rig.operator()
        key = (await operator.post("/api/keys", json={"email": "a@example.com"})).json()["key"]
        mine = await rig.client(headers={"authorization": f"Bearer {key}"})
        refused = await mine.get("/admin/agents")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
        assert (await operator.get("/admin/agents")).json() == {"data": [], "next": None}
