"""What is told to who says something new in a thread that waits for a decision."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.gateway.openai.carried import FINISHED, CarriedRun, says
from tests.gateway.openai.waiting import ARGUMENTS, waiting
from tests.gateway.rig import HOST, Rig, wait_until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

CHAT, RESPONSES, AGUI = "/v1/chat/completions", "/v1/responses", "/agui/Assistant"
THREAD = "thr_1"
USER = {"role": "user", "content": "Hello"}


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "Assistant", "messages": [USER], "metadata": {"thread_id": THREAD}, **more}


def respond(**more: Any) -> dict[str, Any]:
    return {"model": "Assistant", "input": "Hello", "conversation": THREAD, **more}


def agui(run: str = "run_agui", **more: Any) -> dict[str, Any]:
    said = {"id": f"msg_{run}", **USER}
    return {"threadId": THREAD, "runId": run, "messages": [said], "protocolVersion": "1.0", **more}


@pytest_asyncio.fixture
async def run(rig: Rig, ada: httpx.AsyncClient) -> CarriedRun:
    """A run of a durable thread, under way."""
    await rig.announce("Assistant")
    await ada.post("/api/threads", json={"agent": "Assistant", "id": THREAD})
    body = {"input": {"runId": "run_asks", "messages": [{"id": "m0", **USER}]}}
    assert (await ada.post(f"/api/threads/{THREAD}/runs", json=body)).status_code == 202
    return await CarriedRun.claimed(rig)


async def count(rig: Rig) -> list[Any]:
    return await rig.sql("SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM messages)")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat()),
        (CHAT, chat(stream=True)),
        (RESPONSES, respond()),
        (RESPONSES, respond(stream=True)),
        (RESPONSES, respond(background=True)),
        (
            RESPONSES,
            {"model": "Assistant", "input": "Hello", "previous_response_id": "resp_run_asks"},
        ),
        (AGUI, agui()),
    ],
    ids=["chat", "chunks", "response", "stream", "background", "previous", "agui"],
)
async def test_it_is_refused_at_once_and_told_where_to_decide(
    rig: Rig, ada: httpx.AsyncClient, run: CarriedRun, path: str, body: dict[str, Any]
) -> None:
    await waiting(rig, run, "int_1")
    before = await count(rig)
    answer = await ada.post(path, json=body)
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert error["code"] == "decision_needed"
    told = (f"Mailer asks whether it may call send with {ARGUMENTS} (int_1)", f"{HOST}/#/{THREAD}")
    assert all(one in error["message"] for one in told)
    if path == AGUI:
        assert (error["waitsFor"], error["run"]) == (["int_1"], "run_asks")
    else:
        assert answer.headers["baton-run"] == "run_asks"
        assert answer.headers["x-should-retry"] == "false"
    assert await count(rig) == before


@pytest.mark.parametrize("path", [CHAT, AGUI])
async def test_it_is_answered_when_that_was_decided(
    rig: Rig, ada: httpx.AsyncClient, run: CarriedRun, path: str
) -> None:
    await waiting(rig, run, "int_1")
    body, headers = (agui() if path == AGUI else chat()), {"idempotency-key": "k"}
    assert (await ada.post(path, json=body, headers=headers)).status_code == 409
    await ada.post(f"/api/runs/{run.run_id}/cancel")
    answering = asyncio.create_task(ada.post(path, json=body, headers=headers))
    next_ = await CarriedRun.claimed(rig)
    await next_.end("finished")
    await next_.say(says("Hi."), FINISHED)
    assert "Hi." in (await answering).text


async def test_the_page_and_programs_that_can_wait_still_do(
    rig: Rig, ada: httpx.AsyncClient, run: CarriedRun
) -> None:
    await waiting(rig, run, "int_1")
    body = {"input": {"messages": [{"id": "m9", **USER}]}}
    answer = await ada.post(f"/api/threads/{THREAD}/runs", json=body)
    assert (answer.status_code, answer.json()["waitsFor"]) == (202, ["int_1"])
    queue = (await ada.get("/api/status")).json()["queue"]
    assert (queue["waiting"], queue["behind"], queue["asking"]) == (0, 1, 1)


@pytest.mark.parametrize("path", [CHAT, AGUI])
async def test_a_run_that_asks_later_lets_go_who_stands_behind_it(
    rig: Rig, ada: httpx.AsyncClient, run: CarriedRun, path: str
) -> None:
    body, headers = (agui() if path == AGUI else chat(stream=True)), {"idempotency-key": "k"}
    answering = asyncio.create_task(ada.post(path, json=body, headers=headers))

    async def stands() -> bool:
        return bool(await rig.value("SELECT count(*) = 2 FROM runs"))

    await wait_until(stands)
    await waiting(rig, run, "int_1")
    answer = await answering
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "decision_needed")
    assert "is kept" in answer.json()["error"]["message"]
    again = await ada.post(path, json=body, headers=headers)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "decision_needed")
    await ada.post(f"/api/runs/{run.run_id}/cancel")
    joining = asyncio.create_task(ada.post(path, json=body, headers=headers))
    next_ = await CarriedRun.claimed(rig)
    await next_.end("finished")
    await next_.say(says("Hi."), FINISHED)
    assert "Hi." in (await joining).text
    assert await rig.value("SELECT count(*) FROM runs") == 2


async def test_many_questions_are_told_in_few_words(
    rig: Rig, ada: httpx.AsyncClient, run: CarriedRun
) -> None:
    await waiting(rig, run, *(f"int_{number}" for number in range(5)))
    await rig.sql(
        "UPDATE interrupts SET arguments = :long, reason = 'client_tool' WHERE id = 'int_0'",
        long=json.dumps({"to": "x\n" * 5000}),
    )
    message = (await ada.post(CHAT, json=chat())).json()["error"]["message"]
    assert "Mailer has called send of its client" in message
    assert "; and 2 more." in message
    assert "tell its result" in message
    assert len(message) < 1500
