"""Effects as admins see them, and settling those whose outcome nobody knows."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
import pytest_asyncio

from shared.protocol.ids import uuid7
from tests.gateway.rig import Rig, code_of, user_message, wait_until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

DONE = {"outcome": "done", "result": {"paid": True}}
FAILED = {"outcome": "failed", "message": "The bank says no."}
RETRY = {"outcome": "retry"}


@pytest_asyncio.fixture
async def admin(rig: Rig, ada: httpx.AsyncClient) -> httpx.AsyncClient:
    """The operator; and Ada has a run."""
    await rig.announce("Assistant")
    body = {"agent": "Assistant", "input": {"runId": "run_1", "messages": [user_message()]}}
    assert (await ada.post("/api/threads/thr_1/runs", json=body)).status_code == 202
    return await rig.operator()


async def effect(
    rig: Rig, status: str = "unknown", *, call: str = "call_1", left: str = "-1 s"
) -> str:
    """A call of Ada's run; `left` is what its executor's lease still has. Returns its key."""
    found: str = (
        await rig.sql(
            "INSERT INTO effects (root_id, scope, call_id, arguments_digest, run_id, tool,"
            " arguments, status, executor, executor_until, result) SELECT id, 'run:A#0', :call,"
            " '', id, 'pay', :arguments, :status, 'toolsvc-x/1', now() + CAST(:left AS"
            " interval), '\"it\"' FROM runs WHERE public_id = 'run_1' RETURNING key",
            call=call,
            arguments='{"euros":7}',
            status=status,
            left=left,
        )
    )[0].key
    return found


async def settle(client: httpx.AsyncClient, key: str, said: Any) -> httpx.Response:
    return await client.post(f"/api/effects/{key}/settle", json=said)


async def row(rig: Rig, key: str) -> Any:
    (found,) = await rig.sql("SELECT * FROM effects WHERE key = :key", key=key)
    return found


async def test_what_nobody_knows_is_listed_with_all_that_helps_to_find_out(
    rig: Rig, admin: httpx.AsyncClient
) -> None:
    keys = {
        await effect(rig, "unknown", call="a"),
        await effect(rig, "claimed", call="b"),
    }
    await effect(rig, "claimed", call="c", left="10 s")
    await effect(rig, "done", call="d")
    listed = (await admin.get("/api/effects", params={"status": "unknown"})).json()
    assert {one["key"] for one in listed["data"]} == keys
    assert {one["status"] for one in listed["data"]} == {"unknown"}
    one = listed["data"][0]
    assert (one["runId"], one["threadId"], one["email"]) == ("run_1", "thr_1", "ada@example.com")
    assert (one["tool"], one["arguments"], one["scope"]) == ("pay", {"euros": 7}, "run:A#0")
    assert "result" not in one
    every = (await admin.get("/api/effects")).json()["data"]
    assert Counter(one["status"] for one in every) == {"unknown": 2, "claimed": 1, "done": 1}


async def test_arguments_that_were_altered_by_hand_are_listed_as_they_stand(
    rig: Rig, admin: httpx.AsyncClient
) -> None:
    await effect(rig)
    await rig.sql("UPDATE effects SET arguments = '('")
    (one,) = (await admin.get("/api/effects")).json()["data"]
    assert one["arguments"] == "("


async def test_one_is_found_by_how_its_key_begins_also_when_it_is_settled(
    rig: Rig, admin: httpx.AsyncClient
) -> None:
    first, other = await effect(rig, call="a"), await effect(rig, call="b")
    assert (await settle(admin, first, DONE)).status_code == 200
    for length in (12, 63, 64):
        found = (await admin.get("/api/effects", params={"key": first[:length]})).json()["data"]
        assert [one["key"] for one in found] == [first]
    both = (await admin.get("/api/effects", params={"status": "unknown"})).json()["data"]
    assert [one["key"] for one in both] == [other]
    assert code_of(await admin.get("/api/effects", params={"key": "%"})) == "bad_input"


async def test_the_list_comes_in_pages(rig: Rig, admin: httpx.AsyncClient) -> None:
    keys = {await effect(rig, call=f"call_{number}") for number in range(5)}
    seen: list[str] = []
    cursor: str | None = None
    while True:
        given = {"limit": "2", "status": "unknown"} | ({"cursor": cursor} if cursor else {})
        answer = (await admin.get("/api/effects", params=given)).json()
        seen += [one["key"] for one in answer["data"]]
        cursor = answer["next"]
        if cursor is None:
            break
    assert len(seen) == 5
    assert set(seen) == keys
    assert code_of(await admin.get("/api/effects?cursor=x")) == "bad_cursor"


@pytest.mark.parametrize(
    ("said", "status", "result", "code"),
    [
        (DONE, "done", '{"paid":true}', None),
        ({"outcome": "done", "result": None}, "done", "null", None),
        (FAILED, "failed", None, "tool_failed"),
        (FAILED | {"code": "no_money"}, "failed", None, "no_money"),
        (RETRY, "retry", None, None),
    ],
)
async def test_a_person_settles_it_once_and_may_say_so_again(
    rig: Rig, admin: httpx.AsyncClient, said: Any, status: str, result: str | None, code: str | None
) -> None:
    key = await effect(rig)
    answers = [await settle(admin, key, said) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    stored = await row(rig, key)
    assert (stored.status, stored.result, stored.error_code) == (status, result, code)
    assert answers[0].json()["settled"]["by"] == stored.settled_by == "operator@localhost"
    assert stored.settled_as == said["outcome"]
    assert stored.settled_at is not None
    others = [one for one in (DONE, FAILED, RETRY, DONE | {"result": 0}) if one != said]
    for other in others:
        answer = await settle(admin, key, other)
        assert (answer.status_code, code_of(answer)) == (409, "conflict")
    assert await row(rig, key) == stored


@pytest.mark.parametrize("status", ["claimed", "done", "failed"])
async def test_what_is_being_run_or_has_ended_is_nobodys_to_settle(
    rig: Rig, admin: httpx.AsyncClient, status: str
) -> None:
    key = await effect(rig, status, left="10 s" if status == "claimed" else "-1 s")
    before = await row(rig, key)
    for said in (DONE, FAILED, RETRY):
        assert code_of(await settle(admin, key, said)) == "conflict"
    assert await row(rig, key) == before


async def test_a_retry_that_died_too_may_be_settled_anew(
    rig: Rig, admin: httpx.AsyncClient
) -> None:
    key = await effect(rig)
    assert (await settle(admin, key, RETRY)).status_code == 200
    await rig.sql("UPDATE effects SET status = 'unknown'")
    assert (await settle(admin, key, RETRY)).json()["status"] == "retry"
    await rig.sql("UPDATE effects SET status = 'done'")  # by its executor
    assert (await settle(admin, key, RETRY)).json()["status"] == "done"
    await rig.sql("UPDATE effects SET status = 'unknown'")
    assert (await settle(admin, key, DONE)).json()["settled"]["outcome"] == "done"


async def test_of_many_verdicts_at_once_one_counts(rig: Rig, admin: httpx.AsyncClient) -> None:
    key = await effect(rig)
    said = [{"outcome": "done", "result": number} for number in range(10)]
    answers = await asyncio.gather(*(settle(admin, key, one) for one in said))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 9}
    won = next(one for one, answer in zip(said, answers, strict=True) if answer.is_success)
    assert (await row(rig, key)).result == str(won["result"])


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"outcome": "maybe"},
        {"outcome": "done"},
        {"outcome": "failed"},
        {"outcome": "failed", "message": ""},
        {"outcome": "failed", "message": "x", "code": "Not A Code"},
        {"outcome": "retry", "result": 1},
    ],
    ids=repr,
)
async def test_a_verdict_that_is_none_is_refused(
    rig: Rig, admin: httpx.AsyncClient, said: Any
) -> None:
    key = await effect(rig)
    answer = await settle(admin, key, said)
    assert (answer.status_code, code_of(answer)) == (422, "bad_input")
    assert (await row(rig, key)).status == "unknown"


async def test_a_result_may_be_as_large_as_a_tools(rig: Rig, admin: httpx.AsyncClient) -> None:
    key = await effect(rig)
    said = {"outcome": "done", "result": "x" * (262_144 - 2)}
    assert code_of(await settle(admin, key, {**said, "result": "x" * 262_143})) == "too_large"
    assert (await settle(admin, key, said)).status_code == 200


async def test_only_admins_see_and_settle(
    rig: Rig, admin: httpx.AsyncClient, ada: httpx.AsyncClient
) -> None:
    key = await effect(rig)
    await rig.sql("UPDATE users SET admin = false WHERE email = 'ada@example.com'")
    assert code_of(await ada.get("/api/effects")) == "forbidden"
    assert code_of(await settle(ada, key, RETRY)) == "forbidden"
    for unknown in ("0" * 64, "x", str(uuid7())):
        assert code_of(await settle(admin, unknown, RETRY)) == "not_found"


async def fail(rig: Rig, code: str = "tool_outcome_unknown", run: str = "run_1") -> None:
    await rig.sql(
        "UPDATE runs SET status = 'failed', error_code = :code, agent_digest = 'd'"
        " WHERE public_id = :run",
        code=code,
        run=run,
    )


async def resumes(rig: Rig) -> list[Any]:
    return await rig.sql("SELECT * FROM runs WHERE resumes IS NOT NULL ORDER BY id")


@pytest.mark.parametrize("said", [DONE, FAILED, RETRY], ids=lambda said: said["outcome"])
async def test_the_run_goes_on_once_it_is_settled(
    rig: Rig, admin: httpx.AsyncClient, said: Any
) -> None:
    key = await effect(rig)
    await fail(rig)
    answers = [(await settle(admin, key, said)).json() for _ in range(2)]
    (resume,) = await resumes(rig)
    assert (resume.resumes, resume.status, resume.ready) == ("run_1", "queued", True)
    assert [one["resumedBy"] for one in answers] == [resume.public_id] * 2
    await wait_until(lambda: rings_for(rig, resume.id))


async def rings_for(rig: Rig, run: Any) -> bool:
    return run in await rig.rings()


async def test_it_goes_on_only_when_nothing_is_unknown_any_more(
    rig: Rig, admin: httpx.AsyncClient
) -> None:
    keys = [await effect(rig, call="a"), await effect(rig, "claimed", call="b")]
    await fail(rig)
    assert (await settle(admin, keys[0], DONE)).json()["resumedBy"] is None
    assert await resumes(rig) == []
    assert (await settle(admin, keys[1], RETRY)).json()["resumedBy"] is not None
    assert len(await resumes(rig)) == 1


async def test_all_verdicts_at_once_make_one_run(rig: Rig, admin: httpx.AsyncClient) -> None:
    keys = [await effect(rig, call=f"call_{number}") for number in range(6)]
    await fail(rig)
    answers = await asyncio.gather(*(settle(admin, key, DONE) for key in keys * 2))
    assert {answer.status_code for answer in answers} == {200}
    assert len(await resumes(rig)) == 1


async def test_it_stays_as_it_is_where_that_is_wanted_until_it_is_not(
    rig: Rig, admin: httpx.AsyncClient
) -> None:
    key = await effect(rig)
    await fail(rig)
    left = await settle(admin, key, DONE | {"resume": False})
    assert (left.status_code, left.json()["resumedBy"]) == (200, None)
    assert await resumes(rig) == []
    assert (await settle(admin, key, DONE)).json()["resumedBy"] is not None


@pytest.mark.parametrize("how", ["running", "other error", "cancelled", "deleted", "forgotten"])
async def test_a_run_that_did_not_end_of_it_is_not_resumed(
    rig: Rig, admin: httpx.AsyncClient, how: str
) -> None:
    key = await effect(rig)
    match how:
        case "running":
            await rig.begin("run_1")
        case "other error":
            await fail(rig, "upstream_timeout")
        case "cancelled":
            await rig.finish("run_1", "cancelled")
        case "deleted":
            await fail(rig)
            await rig.sql("UPDATE threads SET deleted_at = now()")
        case "forgotten":
            await fail(rig)
            await rig.sql("UPDATE runs SET forgotten = '{steps}'")
    answer = await settle(admin, key, DONE)
    assert (answer.status_code, answer.json()["resumedBy"]) == (200, None)
    assert await resumes(rig) == []


async def test_a_resume_that_ends_the_same_way_is_resumed_itself(
    rig: Rig, admin: httpx.AsyncClient
) -> None:
    key = await effect(rig, call="a")
    await fail(rig)
    await settle(admin, key, DONE)
    (first,) = await resumes(rig)
    await fail(rig, run=first.public_id)
    other = await effect(rig, call="b")
    await settle(admin, other, DONE)
    assert [one.resumes for one in await resumes(rig)] == ["run_1", first.public_id]
