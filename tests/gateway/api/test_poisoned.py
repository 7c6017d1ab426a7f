"""Poisoned runs: what operators and owners see, and trying them again."""

import asyncio

import httpx
import pytest
import pytest_asyncio

from shared.db.conversations import SUSPECT
from tests.gateway.rig import Rig, code_of, user_message

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

WORDS = '{"status": "SIGSEGV", "lines": ["a secret of the process"], "process": "lone-1"}'


@pytest_asyncio.fixture
async def admin(rig: Rig, ada: httpx.AsyncClient) -> httpx.AsyncClient:
    """The operator; and Ada has a poisoned run."""
    await rig.announce("Assistant")
    body = {"agent": "Assistant", "input": {"runId": "run_1", "messages": [user_message()]}}
    assert (await ada.post("/api/threads/thr_1/runs", json=body)).status_code == 202
    await rig.sql(
        "UPDATE runs SET status = 'failed', error_code = 'poisoned', error_message = 'Oh',"
        " deaths = 4, last_words = CAST(:words AS json), first_fence = 1, ended_at = now(),"
        " agent_digest = 'poisonous'",
        words=WORDS,
    )
    return await rig.operator()


async def test_an_operator_sees_how_it_died_and_its_owner_only_that(
    rig: Rig, admin: httpx.AsyncClient, ada: httpx.AsyncClient
) -> None:
    (found,) = (await admin.get("/api/poisoned")).json()["data"]
    assert (found["id"], found["agent"], found["reason"]) == ("run_1", "Assistant", "Oh")
    assert found["death"] == {"status": "SIGSEGV", "lines": ["a secret of the process"]}
    assert found["requeuedBy"] is None
    refused = await ada.get("/api/poisoned")
    assert (refused.status_code, code_of(refused)) == (403, "forbidden")
    own = await ada.get("/api/runs/run_1")
    assert own.json()["error"] == {"code": "poisoned", "message": "Oh"}
    assert "secret of the process" not in own.text


@pytest.mark.parametrize("words", ["[1]", '"x"', '{"status": 1}'])
async def test_words_that_were_altered_by_hand_are_left_out(
    rig: Rig, admin: httpx.AsyncClient, words: str
) -> None:
    await rig.sql("UPDATE runs SET last_words = CAST(:words AS json)", words=words)
    (found,) = (await admin.get("/api/poisoned")).json()["data"]
    assert (found["id"], found["death"]) == ("run_1", None)


async def test_pages_follow_each_other(rig: Rig, admin: httpx.AsyncClient) -> None:
    first = (await admin.get("/api/poisoned", params={"limit": 1})).json()
    assert first["next"] is None
    for bad in ("x", "a|b"):
        answer = await admin.get("/api/poisoned", params={"cursor": bad})
        assert code_of(answer) == "bad_cursor"


async def test_asked_ten_times_at_once_one_new_run_tries_it_again_alone(
    rig: Rig, admin: httpx.AsyncClient, ada: httpx.AsyncClient
) -> None:
    asked = [one.post("/api/runs/run_1/requeue") for one in (admin, ada) * 5]
    answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {202}
    (made,) = {answer.json()["runId"] for answer in answers}
    (row,) = await rig.sql("SELECT * FROM runs WHERE public_id = :made", made=made)
    (old,) = await rig.sql("SELECT * FROM runs WHERE public_id = 'run_1'")
    assert (row.root_id, row.resumes, row.status) == (old.id, "run_1", "queued")
    assert (row.deaths, row.agent_digest) == (SUSPECT, None)  # with the newest code
    (found,) = (await admin.get("/api/poisoned")).json()["data"]
    assert found["requeuedBy"] == made
    told = [(await ada.get(f"/api/runs/{run}")).json() for run in ("run_1", made)]
    assert [one["resumedBy"] for one in told] == [made, None]
    assert [one["parentRunId"] for one in told] == [None, "run_1"]
    assert told[0]["deaths"] == 4


async def test_the_code_it_had_may_be_asked_for(rig: Rig, admin: httpx.AsyncClient) -> None:
    made = await admin.post("/api/runs/run_1/requeue", params={"oldCode": True})
    (row,) = await rig.sql("SELECT * FROM runs WHERE public_id = :r", r=made.json()["runId"])
    assert row.agent_digest == "poisonous"


async def test_others_runs_and_others_outcomes_are_not_tried_again(
    rig: Rig, admin: httpx.AsyncClient, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    for client, run in ((bob, "run_1"), (admin, "run_2"), (admin, "run_1")):
        of = {"user": "nobody@example.com"} if client is admin else None
        answer = await client.post(f"/api/runs/{run}/requeue", params=of)
        assert (answer.status_code, code_of(answer)) == (404, "not_found")
    await rig.sql("UPDATE runs SET error_code = 'agent_error'")
    answer = await ada.post("/api/runs/run_1/requeue")
    assert (answer.status_code, code_of(answer)) == (409, "not_running")
