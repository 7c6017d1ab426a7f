"""Responses that were made before: gone on from, read again past a question, cancelled, deleted."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from openai.types.responses import Response, ResponseItemList

from shared.protocol.ids import new_id
from tests.gateway.openai.carried import FINISHED, says
from tests.gateway.openai.waiting import carried, events_of, waiting
from tests.gateway.rig import Rig

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

PATH = "/v1/responses"


async def answered(rig: Rig, ada: httpx.AsyncClient, text: str, **more: Any) -> dict[str, Any]:
    """A response that says the text in capitals."""
    message = {"id": new_id("msg"), "role": "assistant", "content": text.upper()}
    async with carried(rig, ada, {"input": text, **more}) as (run, answering):
        await run.end("finished", message)
        await run.say(says(text.upper()), FINISHED)
        await run.store()
    found: dict[str, Any] = (await answering).json()
    Response.model_validate(found, strict=True)
    return found


async def stored_input(rig: Rig, response: str) -> list[str]:
    given = await rig.value(
        "SELECT input FROM runs WHERE public_id = :run", run=response.removeprefix("resp_")
    )
    return [one["content"] for one in given["messages"]]


async def test_who_goes_on_from_an_older_response_begins_a_branch(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant")
    first = await answered(rig, ada, "one")
    second = await answered(rig, ada, "two", previous_response_id=first["id"])
    assert await stored_input(rig, second["id"]) == ["two"]  # the thread has the rest
    branch = await answered(rig, ada, "other", previous_response_id=first["id"])
    # The rows of this test have no parents, so the path of a run is its last message.
    assert await stored_input(rig, branch["id"]) == ["ONE", "other"]
    threads = await rig.sql(
        "SELECT count(*), bool_and(threads.hidden) FROM runs JOIN threads"
        " ON threads.id = runs.thread_id GROUP BY threads.id ORDER BY 1"
    )
    assert [tuple(one) for one in threads] == [(1, True), (2, True)]
    items = (await ada.get(f"{PATH}/{branch['id']}/input_items")).json()
    assert [one["content"][0]["text"] for one in items["data"]] == ["other"]


async def test_the_same_key_finds_its_response_though_it_is_the_newest_now(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant")
    first = await answered(rig, ada, "one")
    ada.headers["Idempotency-Key"] = "k"
    second = await answered(rig, ada, "two", previous_response_id=first["id"])
    body = {"model": "Assistant", "input": "two", "previous_response_id": first["id"]}
    again = (await ada.post(PATH, json=body)).json()
    assert again == second
    other = (await ada.post(PATH, json=body | {"input": "three"})).json()["error"]
    assert (other["code"], "Idempotency-Key" in other["message"]) == ("conflict", True)
    assert await rig.value("SELECT count(*) FROM runs") == 2


async def test_what_was_asked_is_read_in_pages(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    said = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "ONE"},
        {"role": "user", "content": "two"},
    ]
    body = {"model": "Assistant", "input": said, "background": True}
    made = (await ada.post(PATH, json=body)).json()
    path = f"{PATH}/{made['id']}/input_items"
    whole = (await ada.get(path, params={"order": "asc"})).json()
    ResponseItemList.model_validate(whole)
    assert [(one["role"], one["content"][0]["text"]) for one in whole["data"]] == [
        *(("developer", "Be brief."), ("user", "one"), ("assistant", "ONE"), ("user", "two"))
    ]
    first = (await ada.get(path, params={"limit": 3})).json()
    assert (len(first["data"]), first["has_more"]) == (3, True)
    rest = (await ada.get(path, params={"limit": 3, "after": first["last_id"]})).json()
    assert (rest["data"], rest["has_more"]) == (whole["data"][:1], False)
    for wrong in ({"limit": 0}, {"limit": 101}, {"order": "x"}, {"after": "msg_0"}):
        assert (await ada.get(path, params=wrong)).status_code == 400, wrong


async def test_a_stream_read_again_carries_on_past_the_question(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant")
    async with carried(rig, ada, {"input": "send", "stream": True}) as (run, answering):
        await waiting(rig, run, "int_1")
    events = events_of(await answering)
    ended = events[-1]["response"]
    assert [one["type"] for one in ended["output"]] == ["message", "mcp_approval_request"]
    assert ended["output"][1] == {
        "type": "mcp_approval_request",
        "id": "int_1",
        "server_label": "Mailer",
        "name": "send",
        "arguments": '{"to": "ada"}',
    }
    answer = await ada.post(
        f"/api/runs/{run.run_id}/approvals",
        json={"decisions": [{"id": "int_1", "approved": True}]},
    )
    resumed = answer.json()["resumedBy"]
    key = await rig.value("SELECT id FROM runs WHERE public_id = :run", run=resumed)
    await rig.sql("UPDATE runs SET status = 'running', first_fence = 2 WHERE id = :key", key=key)
    run.run, run.run_id = key, resumed
    await run.take({"type": "RUN_STARTED", "runId": resumed})
    path = f"{PATH}/{ended['id']}"
    reading = asyncio.create_task(ada.get(path, params={"stream": "true"}))
    await run.say(says("Sent.", "m2"), FINISHED)
    await run.store()
    await run.end("finished", {"id": "m2", "role": "assistant", "content": "Sent."})
    again = events_of(await reading)
    (said,) = again[-1]["response"]["output"]
    assert said["content"][0]["text"] == "I will.\n\nSent."
    # What was told until the question is told alike, and who has all of that gets the rest.
    told = [one for one in events if one["type"] == "response.output_text.delta"]
    assert again[: len(told) + 4] == events[: len(told) + 4]
    after = {"stream": "true", "starting_after": str(events[-1]["sequence_number"])}
    rest = events_of(await ada.get(path, params=after))
    assert [one["delta"] for one in rest if "delta" in one] == ["\n\nSent."]
    read = (await ada.get(path)).json()
    assert read["output"] == again[-1]["response"]["output"]


async def test_a_response_that_waits_can_be_cancelled(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    async with carried(rig, ada, {"input": "send"}) as (run, answering):
        await waiting(rig, run, "int_1", "int_2")
    made = (await answering).json()
    Response.model_validate(made, strict=True)
    assert [one["type"] for one in made["output"]] == ["message", *["mcp_approval_request"] * 2]
    path = f"{PATH}/{made['id']}"
    assert (await ada.post(f"{path}/cancel")).json()["status"] == "cancelled"
    assert (await ada.get(path)).json()["status"] == "cancelled"
    assert (await ada.post(f"{path}/cancel")).status_code == 400
    decided = await ada.post(
        f"/api/runs/{run.run_id}/approvals",
        json={"decisions": [{"id": "int_1", "approved": True}]},
    )
    assert decided.json()["error"]["code"] == "conflict"


async def test_a_deleted_response_is_gone_and_with_the_last_one_its_thread(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant")
    first = await answered(rig, ada, "one")
    second = await answered(rig, ada, "two", previous_response_id=first["id"])
    bob = await rig.sign_in("bob@example.com")
    assert (await bob.delete(f"{PATH}/{first['id']}")).status_code == 404
    gone = await ada.delete(f"{PATH}/{first['id']}")
    assert gone.json() == {"id": first["id"], "object": "response", "deleted": True}
    for method, more in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        answer = await ada.request(method, f"{PATH}/{first['id']}{more}")
        assert answer.status_code == 404, (method, more)
    body = {"model": "Assistant", "input": "x", "previous_response_id": first["id"]}
    refused = await ada.post(PATH, json=body)
    assert refused.json()["error"]["code"] == "previous_response_not_found"
    assert (await ada.get(f"{PATH}/{second['id']}")).json() == second
    assert await rig.value("SELECT deleted_at FROM threads") is None
    await ada.delete(f"{PATH}/{second['id']}")
    assert await rig.value("SELECT deleted_at FROM threads") is not None


async def test_a_response_that_goes_on_is_stopped_when_it_is_deleted(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant")
    body = {"model": "Assistant", "input": "one", "background": True}
    made = (await ada.post(PATH, json=body)).json()
    assert (await ada.delete(f"{PATH}/{made['id']}")).json()["deleted"] is True
    assert await rig.value("SELECT cancel_requested_at FROM runs") is not None


@pytest.mark.parametrize("id_", ["resp_run_0", "run_0", "resp_", "resp_../x", str(UUID(int=7))])
async def test_a_response_that_never_was_cannot_be_deleted(
    ada: httpx.AsyncClient, id_: str
) -> None:
    assert (await ada.delete(f"{PATH}/{id_}")).status_code == 404


async def test_a_response_that_is_deleted_while_somebody_goes_on_from_it_is_none(
    rig: Rig, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.announce("Assistant")
    first = await answered(rig, ada, "one")

    async def meanwhile(*_args: Any, **_more: Any) -> None:
        await rig.sql("DELETE FROM threads")

    monkeypatch.setattr("gateway.openai.responses.resuming", meanwhile)
    body = {"model": "Assistant", "input": "two", "previous_response_id": first["id"]}
    refused = await ada.post(PATH, json=body)
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "previous_response_not_found"
