"""Who is let in by a rule; and a run goes on for nobody who may not use its agent any more."""

from typing import Any

import httpx
import pytest

from gateway.access import admits
from gateway.auth.caller import Caller, How
from shared.protocol.ids import uuid7
from shared.settings.access import Access
from tests.gateway.rig import Rig, code_of, user_message
from tests.gateway.test_decide import asks, decide, resume, said, statuses


def caller(**fields: Any) -> Caller:
    given: dict[str, Any] = {
        "user_id": uuid7(),
        "email": "ada@example.com",
        "admin": False,
        "how": How.SIGN_IN,
        "expires_at": None,
        "credential": b"",
    }
    return Caller(**given | fields)


ADA = caller()
ADMIN = caller(email="eve@example.org", admin=True)
BY_KEY = caller(how=How.KEY, key_name="ci", key_shown="bt_Zq3kT8")


@pytest.mark.parametrize(
    ("rule", "who", "let_in"),
    [
        ({}, ADA, True),
        ({"users": ["ada@example.com"]}, ADA, True),
        ({"users": ["Example.com"]}, ADA, True),
        ({"users": ["@example.com"]}, ADA, True),
        ({"users": ["ample.com"]}, ADA, False),
        ({"users": []}, ADA, False),
        ({"roles": ["admin"]}, ADA, False),
        ({"roles": ["admin"]}, ADMIN, True),
        ({"roles": ["member"]}, ADMIN, True),
        ({"users": ["ada@example.com"], "roles": ["admin"]}, ADMIN, True),
        ({"users": ["ada@example.com"]}, ADMIN, False),
        ({"keys": ["ci"]}, ADA, True),
        ({"keys": ["ci"]}, BY_KEY, True),
        ({"keys": ["bt_Zq"]}, BY_KEY, True),
        ({"keys": ["bt_Zr", "cd"]}, BY_KEY, False),
        ({"keys": []}, BY_KEY, False),
        ({"keys": ["ci"], "users": ["eve@example.org"]}, BY_KEY, False),
        # Whoever calls a key like the beginning of another one has not got that one.
        ({"keys": ["bt_Zq"]}, caller(how=How.KEY, key_name="bt_Zq", key_shown="bt_aaaaaa"), False),
    ],
)
def test_a_rule_lets_in_whom_it_names(rule: dict[str, Any], who: Caller, let_in: bool) -> None:
    assert admits(Access.model_validate(rule), who) is let_in


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_key_is_known_by_its_name_and_its_beginning(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    made = (await ada.post("/api/keys", json={"name": "ci"})).json()
    for number, rule in enumerate((["ci"], [made["shown"]], ["other"])):
        await rig.announce(f"A{number}", runner=f"runner_{number}", access={"keys": rule})
    client = await rig.client(headers={"authorization": f"Bearer {made['key']}"})
    listed = (await client.get("/api/agents")).json()["data"]
    assert [one["name"] for one in listed] == ["A0", "A1"]


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_run_of_before_goes_on_for_nobody_who_may_not_use_its_agent(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await asks(rig, ada, "i1")
    await rig.announce("Assistant", runner="runner_run_1", access={"users": ["eve@example.com"]})
    rig.services.agents = None
    message = {"input": {"messages": [user_message("m2")]}}
    snapshot = {"threadId": "thr_1", "runId": "run_3", "messages": []}
    refusals = [
        await decide(ada, said("i1")),
        await resume(ada, "i1"),
        await ada.post("/api/threads/thr_1/runs", json=message),
        await ada.post("/agui/Assistant/connect", json=snapshot),
    ]
    assert [code_of(one) for one in refusals] == ["unknown_agent"] * 4
    assert await statuses(rig) == {"i1": "open"}
    await rig.announce("Assistant", runner="runner_run_1")
    rig.services.agents = None
    assert (await decide(ada, said("i1"))).status_code == 200
