"""Deciding what runs ask: once, by whoever the run belongs to, and all or nothing."""

import asyncio
from typing import Any

import httpx
import pytest

from shared.protocol.codes import Code
from tests.gateway.rig import Rig, code_of, run_input, user_message

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


async def asks(
    rig: Rig, person: httpx.AsyncClient, *ids: str, run: str = "run_1", thread: str = "thr_1"
) -> None:
    """A run that ended with questions, as its runner leaves it."""
    await rig.announce("Assistant", runner=f"runner_{run}")
    body = {"agent": "Assistant", "input": {"runId": run, "messages": [user_message(f"m_{run}")]}}
    assert (await person.post(f"/api/threads/{thread}/runs", json=body)).status_code == 202
    await rig.begin(run)
    await rig.finish(run, "interrupted")
    for ordinal, id_ in enumerate(ids):
        await rig.sql(
            "INSERT INTO interrupts (id, thread_id, root_id, run_id, ordinal, reason, scope,"
            " call_id, agent, tool, arguments, digest, status)"
            " SELECT :id, thread_id, root_id, id, :ordinal, 'tool_call', '', :id, 'A', 'send',"
            " '{\"to\": \"ada\"}', 'd', 'open' FROM runs WHERE public_id = :run",
            id=id_,
            ordinal=ordinal,
            run=run,
        )


def said(id_: str, approved: Any = True, **more: Any) -> dict[str, Any]:
    return {"id": id_, "approved": approved} | more


async def decide(person: httpx.AsyncClient, *decisions: Any, run: str = "run_1") -> httpx.Response:
    return await person.post(f"/api/runs/{run}/approvals", json={"decisions": list(decisions)})


async def resume(
    person: httpx.AsyncClient, *ids: str, run: str = "run_2", thread: str = "thr_1", **more: Any
) -> httpx.Response:
    entries = [
        {"interruptId": one, "status": "resolved", "payload": {"approved": True}} for one in ids
    ]
    given = {"runId": run, "messages": [], "resume": entries} | more
    return await person.post(f"/api/threads/{thread}/runs", json={"input": given})


async def statuses(rig: Rig) -> dict[str, str]:
    return {row[0]: row[1] for row in await rig.sql("SELECT id, status FROM interrupts")}


async def runs(rig: Rig) -> list[tuple[Any, ...]]:
    rows = await rig.sql("SELECT public_id, resumes, status, ready FROM runs ORDER BY id")
    return [tuple(row) for row in rows]


async def test_what_is_asked_can_be_read(rig: Rig, ada: httpx.AsyncClient) -> None:
    await asks(rig, ada, "i1", "i2")
    found = (await ada.get("/api/runs/run_1/approvals")).json()
    assert (found["runId"], found["threadId"], found["resumedBy"]) == ("run_1", "thr_1", None)
    assert [(one["id"], one["status"], one["tool"]) for one in found["data"]] == [
        ("i1", "open", "send"),
        ("i2", "open", "send"),
    ]
    assert found["data"][0]["arguments"] == {"to": "ada"}


@pytest.mark.parametrize(
    ("decision", "status"),
    [
        (said("unknown"), 404),
        (said("i 1"), 422),
        (said("i1", "yes"), 422),
        (said("i1", None), 422),
        (said("i1", 1), 422),
        (said("i1", message=""), 422),
        (said("i1", message="x" * 2001), 422),
        (said("i1", message=7), 422),
        (said("i1", arguments={}), 422),
        ({"id": "i1"}, 422),
        ("i1", 422),
    ],
)
async def test_what_is_no_decision_decides_nothing(
    rig: Rig, ada: httpx.AsyncClient, decision: Any, status: int
) -> None:
    await asks(rig, ada, "i1", "i2")
    assert (await decide(ada, said("i2"), decision)).status_code == status
    assert await statuses(rig) == {"i1": "open", "i2": "open"}
    assert len(await runs(rig)) == 1


async def test_a_request_decides_something_and_nothing_twice(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await asks(rig, ada, "i1")
    assert (await decide(ada)).status_code == 422
    assert (await decide(ada, said("i1"), said("i1"))).status_code == 422
    assert (await decide(ada, *(said(f"i{n}") for n in range(101)))).status_code == 422
    assert await statuses(rig) == {"i1": "open"}


async def test_others_can_decide_nothing(
    rig: Rig, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    await asks(rig, ada, "i1")
    await asks(rig, bob, "i9", run="run_9", thread="thr_9")
    assert (await decide(bob, said("i1"))).status_code == 404
    assert (await decide(bob, said("i1"), run="run_9")).status_code == 404
    assert (await resume(bob, "i1", thread="thr_9")).status_code == 404
    assert (await resume(bob, "i1")).status_code == 404
    assert (await statuses(rig))["i1"] == "open"


async def test_it_has_to_be_the_run_and_the_thread_that_asks(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await asks(rig, ada, "i1")
    await asks(rig, ada, "i9", run="run_9", thread="thr_9")
    assert (await decide(ada, said("i9"))).status_code == 404
    assert (await decide(ada, said("i1"), said("i9"))).status_code == 404
    assert (await resume(ada, "i9")).status_code == 404
    assert set((await statuses(rig)).values()) == {"open"}


async def test_of_a_deleted_thread_nothing_can_be_decided(rig: Rig, ada: httpx.AsyncClient) -> None:
    await asks(rig, ada, "i1")
    await ada.delete("/api/threads/thr_1")
    assert (await decide(ada, said("i1"))).status_code == 404
    assert (await resume(ada, "i1")).status_code == 404


async def test_a_decision_is_made_once(rig: Rig, ada: httpx.AsyncClient) -> None:
    await asks(rig, ada, "i1", "i2")
    refusal = said("i1", approved=False, message="No.")
    first = await decide(ada, refusal)
    assert (await decide(ada, refusal)).json() == first.json()
    for other in (said("i1"), said("i1", approved=False), said("i1", approved=False, message="-")):
        answer = await decide(ada, said("i2"), other)
        assert (answer.status_code, code_of(answer)) == (409, Code.CONFLICT)
    assert await statuses(rig) == {"i1": "rejected", "i2": "open"}


async def test_many_who_decide_at_once_make_one_run(rig: Rig, ada: httpx.AsyncClient) -> None:
    await asks(rig, ada, "i1", "i2")
    answers = await asyncio.gather(
        *(decide(ada, said("i1")) for _ in range(4)),
        *(decide(ada, said("i2")) for _ in range(4)),
        decide(ada, said("i2", approved=False)),
    )
    codes = [one.status_code for one in answers]
    assert codes.count(200) in (5, 8)  # whoever was first about i2 has decided
    made = [run for run in await runs(rig) if run[1]]
    assert [run[1:] for run in made] == [("run_1", "queued", True)]


async def test_a_resume_is_called_as_it_says_however_often_it_comes(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await asks(rig, ada, "i1", "i2")
    part = await resume(ada, "i1")
    assert part.status_code == 202
    assert (part.json()["runId"], part.json()["waitsFor"]) == ("run_1", ["i2"])
    whole = await resume(ada, "i1", "i2")
    assert (whole.json()["runId"], whole.json()["status"]) == ("run_2", "queued")
    assert (await resume(ada, "i1", "i2")).json() == whole.json()
    late = await resume(ada, "i2", run="run_3")  # it was resumed already, under another name
    assert (late.status_code, late.json()["runId"]) == (202, "run_2")
    other = await resume(ada, "i1", run="run_2")
    assert (other.status_code, code_of(other)) == (409, Code.CONFLICT)
    assert [run[:2] for run in await runs(rig)] == [("run_1", None), ("run_2", "run_1")]


async def test_a_resume_brings_no_new_message(rig: Rig, ada: httpx.AsyncClient) -> None:
    await asks(rig, ada, "i1")
    held = await resume(ada, "i1", messages=[user_message("new")])
    assert (held.status_code, code_of(held)) == (422, Code.NOT_SUPPORTED)
    assert (await resume(ada, "i1", messages=[user_message("m_run_1")])).status_code == 202


async def test_a_run_whose_journal_is_deleted_does_not_go_on(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await asks(rig, ada, "i1")
    await rig.sql("UPDATE runs SET forgotten = '{steps}'")
    answer = await decide(ada, said("i1"))
    assert (answer.status_code, code_of(answer)) == (410, Code.GONE)
    assert await statuses(rig) == {"i1": "open"}


async def test_who_takes_its_place_closes_what_was_asked(rig: Rig, ada: httpx.AsyncClient) -> None:
    await asks(rig, ada, "i1")
    given = run_input("thr_1", "run_5", user_message("m5")).model_dump(by_alias=True)
    waits = await ada.post("/api/threads/thr_1/runs", json={"input": given})
    assert (waits.json()["queued"], waits.json()["waitsFor"]) == (True, ["i1"])
    given = run_input("thr_1", "run_6", user_message("m6")).model_dump(by_alias=True)
    body = {"input": given, "ifBusy": "interrupt"}
    assert (await ada.post("/api/threads/thr_1/runs", json=body)).json()["waitsFor"] == []
    assert await statuses(rig) == {"i1": "superseded"}
    assert (await decide(ada, said("i1"))).status_code == 409
    # What had waited is cancelled, and says so first.
    ready = {run[0]: run[3] for run in await runs(rig)}
    assert (ready["run_5"], ready["run_6"]) == (True, False)
