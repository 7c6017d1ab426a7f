"""Tools that an AG-UI client brings along."""

import json
from typing import Any

import httpx
import pytest
from ag_ui_validate.pytest_plugin import assert_valid_agui

from tests.gateway.api.test_bad_input import assert_nothing_stored
from tests.gateway.openai.carried import FINISHED, says
from tests.gateway.openai.waiting import carried, waiting
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


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found = [one.rpartition("data: ")[2] for one in answer.text.removesuffix("\n\n").split("\n\n")]
    return [json.loads(one) for one in found]


def sends(*messages: dict[str, Any], run: str = "run_2", **more: Any) -> dict[str, Any]:
    """All that a stock client has of the conversation, under ids of its own where it made them."""
    call = {"id": "call_0", "type": "function", "function": {"name": "send", "arguments": "{}"}}
    made = {"id": "local_1", "role": "assistant", "content": "I will.", "toolCalls": [call]}
    said = [{"id": "m1", "role": "user", "content": "Hello"}, made, *messages]
    return {
        "threadId": "thr_1",
        "runId": run,
        "protocolVersion": "1.0",
        "messages": said,
        "tools": [CLICK],
        "context": [],
        **more,
    }


def result(call: str = "int_1", text: Any = "sent", id_: str = "local_2") -> dict[str, Any]:
    return {"id": id_, "role": "tool", "toolCallId": call, "content": text}


async def asked(
    rig: Rig, ada: httpx.AsyncClient, *ids: str, reason: str = "client_tool"
) -> list[dict[str, Any]]:
    """What a stock client is told where a run calls a tool of its own."""
    await rig.announce("Assistant", **TAKES)
    given = body(CLICK) | {"protocolVersion": "1.0"}
    async with carried(rig, ada, given, PATH) as (run, answering):
        await waiting(rig, run, *ids, reason=reason)
    return events(await answering)


async def decisions(rig: Rig) -> list[tuple[str, str | None]]:
    found = await rig.sql("SELECT status, message FROM interrupts ORDER BY ordinal")
    return [tuple(one) for one in found]


async def test_a_result_at_the_end_goes_on_with_the_run_once(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    end = (await asked(rig, ada, "int_1"))[-1]
    assert end["outcome"] == {"type": "success", "pendingToolCallIds": ["int_1"]}
    assert end["metadata"]["baton"]["interrupts"][0]["id"] == "int_1"
    parts = [{"type": "text", "text": "se"}, {"type": "text", "text": "nt"}]
    given = {"model": "Assistant", **sends(result(text=parts))}  # as `carried` sends it
    async with carried(rig, ada, given, PATH) as (run, answering):
        known = {"type": "TOOL_CALL_RESULT", "toolCallId": "int_1", "messageId": "m7"}
        await run.say(known | {"content": "se\nnt"}, says("Done.", "m9"), FINISHED)
        await run.store()
        await run.end("finished", {"id": "m9", "role": "assistant", "content": "Done."})
    told = events(await answering)
    assert [one["type"] for one in told] == ["RUN_STARTED", "TEXT_MESSAGE_CHUNK", "RUN_FINISHED"]
    assert await decisions(rig) == [("approved", "se\nnt")]
    assert await rig.sql("SELECT public_id, resumes FROM runs ORDER BY id") == [
        ("run_1", None),
        ("run_2", "run_1"),
    ]
    # The same input, and the same result under another run's id, have no second effect.
    for again in (given, given | {"runId": "run_3"}):
        assert events(await ada.post(PATH, json=again)) == told
    other = await ada.post(PATH, json=sends(result(text="other"), run="run_4"))
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    assert await rig.value("SELECT count(*) FROM runs") == 2
    # What the client made itself hinders nothing afterwards.
    later = {"id": "m5", "role": "user", "content": "Thanks"}
    partial = {"id": "local_3", "role": "assistant", "content": "half a"}
    async with carried(rig, ada, sends(result(), partial, later, run="run_5"), PATH) as (run, _):
        await run.end("finished")
        await run.say(FINISHED)
    made = await rig.value("SELECT input FROM runs WHERE public_id = 'run_5'")
    assert [one["id"] for one in made["messages"]] == ["m5"]


async def test_a_result_and_a_decision_come_together(rig: Rig, ada: httpx.AsyncClient) -> None:
    await asked(rig, ada, "int_1", "int_2")
    await rig.sql("UPDATE interrupts SET reason = 'tool_call' WHERE id = 'int_2'")
    resume = [{"interruptId": "int_2", "status": "resolved", "payload": {"approved": False}}]
    async with carried(rig, ada, sends(result(), resume=resume), PATH) as (run, _):
        await run.end("finished")
        await run.say(FINISHED)
    assert await decisions(rig) == [("approved", "sent"), ("rejected", None)]


@pytest.mark.parametrize("case", ["forged", "an approval", "called off"])
async def test_a_result_that_nobody_waits_for_is_history(
    rig: Rig, ada: httpx.AsyncClient, case: str
) -> None:
    await asked(rig, ada, "int_1", reason="tool_call" if case == "an approval" else "client_tool")
    await ada.post("/api/runs/run_1/cancel")
    before = await decisions(rig)
    call = "call_0" if case == "forged" else "int_1"
    async with carried(rig, ada, sends(result(call)), PATH) as (run, _):
        await run.end("finished")
        await run.say(FINISHED)
    assert await decisions(rig) == before
    made = await rig.value("SELECT input FROM runs WHERE public_id = 'run_2'")
    name = "send" if case == "forged" else "int_1"
    assert [one["content"] for one in made["messages"]] == [f"[{name} returned: sent]"]


async def test_a_result_decides_about_no_approval_and_for_nobody_else(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await asked(rig, ada, "int_1", reason="tool_call")
    answer = await ada.post(PATH, json=sends(result()))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "decision_needed")
    await rig.sql("UPDATE interrupts SET reason = 'client_tool'")
    bob = await rig.sign_in("bob@example.com")
    async with carried(rig, bob, sends(result()), PATH) as (run, _):
        await run.end("finished")
        await run.say(FINISHED)
    assert await decisions(rig) == [("open", None)]


async def test_a_client_before_1_0_is_told_of_no_outcome(rig: Rig, ada: httpx.AsyncClient) -> None:
    await asked(rig, ada, "int_1")
    older = body(CLICK) | {"protocolVersion": "1.0"}
    del older["protocolVersion"]
    told = events(await ada.post(f"{PATH}/connect", json=older))
    assert (told[-1]["type"], "outcome" in told[-1]) == ("RUN_FINISHED", False)
    assert_valid_agui(told)
