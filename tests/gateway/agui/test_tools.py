"""Tools that an AG-UI client brings along."""

from typing import Any

import httpx
import pytest

from tests.gateway.api.test_bad_input import assert_nothing_stored
from tests.gateway.openai.carried import FINISHED
from tests.gateway.openai.waiting import carried
from tests.gateway.rig import Rig

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

PATH = "/agui/Assistant"
TAKES: dict[str, Any] = {"capabilities": {"tools": {"clientProvided": True}}}
CLICK: dict[str, Any] = {"name": "click", "description": "Clicks.", "parameters": {}}


def body(*tools: dict[str, Any]) -> dict[str, Any]:
    said = {"id": "m1", "role": "user", "content": "Hello"}
    return {
        "threadId": "thr_1",
        "runId": "run_1",
        "messages": [said],
        "tools": list(tools),
        "context": [],
    }


@pytest.mark.parametrize("takes", [True, False])
async def test_they_are_for_agents_that_take_them(
    rig: Rig, ada: httpx.AsyncClient, takes: bool
) -> None:
    await rig.announce("Assistant", **(TAKES if takes else {}))
    async with carried(rig, ada, body(CLICK), PATH) as (run, _):
        await run.say(FINISHED)
    stored = await rig.value("SELECT input FROM runs")
    assert stored.get("tools") == ([CLICK] if takes else None)


async def test_those_that_no_model_can_be_offered_are_refused(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant", **TAKES)
    answer = await ada.post(PATH, json=body(CLICK | {"name": "a b"}))
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_input")
    await assert_nothing_stored(rig)
