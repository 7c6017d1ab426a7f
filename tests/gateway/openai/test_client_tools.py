"""Tools that clients have: offered, called, answered; and everything that is no answer."""

import json
from typing import Any

import httpx
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from tests.gateway.api.test_bad_input import assert_nothing_stored
from tests.gateway.openai.carried import FINISHED, says
from tests.gateway.openai.waiting import ARGUMENTS, carried, events_of, waiting
from tests.gateway.rig import Rig

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
TAKES: dict[str, Any] = {"capabilities": {"tools": {"clientProvided": True}}}
SEND = {"name": "send", "description": "Sends.", "parameters": {"type": "object"}}
CHAT_TOOLS = [{"type": "function", "function": SEND}]
USER = {"role": "user", "content": "Send it to ada"}


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    said = [USER, *messages]
    return {"model": "Assistant", "messages": said, "tools": CHAT_TOOLS, **more}


def calls(*ids: str, name: str = "send", arguments: str = ARGUMENTS) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    made = [{"id": one, "type": "function", "function": function} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": made}


def result(id_: str, text: str = "sent") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": text}


async def asked(
    rig: Rig, ada: httpx.AsyncClient, *ids: str, reason: str = "client_tool", stream: bool = False
) -> httpx.Response:
    """What is answered where a run asks for results."""
    await rig.announce("Assistant", **TAKES)
    async with carried(rig, ada, chat(stream=stream), CHAT) as (run, answering):
        await waiting(rig, run, *ids, reason=reason)
    return await answering


async def decisions(rig: Rig) -> list[tuple[str, str | None]]:
    return [
        tuple(one)
        for one in await rig.sql("SELECT status, message FROM interrupts ORDER BY ordinal")
    ]


async def test_calls_are_answered_and_the_run_goes_on(rig: Rig, ada: httpx.AsyncClient) -> None:
    answer = (await asked(rig, ada, "int_1", "int_2")).json()
    ChatCompletion.model_validate(answer, strict=True)
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "I will."
    assert choice["message"]["tool_calls"] == calls("int_1", "int_2")["tool_calls"]
    stored = await rig.value("SELECT input FROM runs")
    assert stored["tools"] == [SEND]
    body = chat(choice["message"], result("int_1"), result("int_2", "no such address"))
    async with carried(rig, ada, body, CHAT) as (run, answering):
        await run.end("finished", {"id": "m9", "role": "assistant", "content": "Done."})
        await run.say(says("Done.", "m9"), FINISHED)
        await run.store()
    ended = (await answering).json()
    assert ended["choices"][0]["message"]["content"] == "Done."
    assert await decisions(rig) == [("approved", "sent"), ("approved", "no such address")]
    root, resumed = await rig.sql("SELECT public_id, resumes, input FROM runs ORDER BY id")
    assert resumed[1] == root[0]
    assert resumed[2]["tools"] == [SEND]
    # The same results once more are the same run.
    again = (await ada.post(CHAT, json=body)).json()
    assert again == ended
    other = chat(choice["message"], result("int_1"), result("int_2", "sent"))
    assert (await ada.post(CHAT, json=other)).json()["error"]["code"] == "conflict"


async def test_calls_in_a_stream_of_chunks(rig: Rig, ada: httpx.AsyncClient) -> None:
    answer = await asked(rig, ada, "int_1", "int_2", stream=True)
    *chunks, done = answer.text.removesuffix("\n\n").split("\n\n")
    assert done == "data: [DONE]"
    told = [json.loads(one[6:]) for one in chunks]
    for one in told:
        ChatCompletionChunk.model_validate(one, strict=True)
    called, end = (one["choices"][0] for one in told[-2:])
    made = calls("int_1", "int_2")["tool_calls"]
    assert called["delta"]["tool_calls"] == [{"index": n} | one for n, one in enumerate(made)]
    assert end["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("messages", "status", "code"),
    [
        ([calls("int_1", "int_2"), result("int_1")], 400, "invalid_value"),
        ([result("int_1"), result("int_2"), result("int_3")], 400, "invalid_value"),
        ([result("int_1"), result("int_2"), result("int_2")], 400, "invalid_value"),
        (
            [calls("int_1", arguments='{"to": "eve"}'), result("int_1"), result("int_2")],
            *(400, "invalid_value"),
        ),
        ([calls("int_1", name="look"), result("int_1"), result("int_2")], 400, "invalid_value"),
    ],
    ids=["half of them", "one more", "one twice", "other arguments", "another tool"],
)
async def test_results_that_do_not_fit_the_calls_are_refused(
    rig: Rig, ada: httpx.AsyncClient, messages: list[dict[str, Any]], status: int, code: str
) -> None:
    await asked(rig, ada, "int_1", "int_2")
    answer = await ada.post(CHAT, json=chat(*messages))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["param"] == "messages"
    assert await decisions(rig) == [("open", None)] * 2
    assert await rig.value("SELECT count(*) FROM runs") == 1


async def test_how_arguments_are_written_does_not_matter(rig: Rig, ada: httpx.AsyncClient) -> None:
    await asked(rig, ada, "int_1")
    body = chat(calls("int_1", arguments='{\n"to":"ada"}'), result("int_1"))
    async with carried(rig, ada, body, CHAT) as (run, _):
        await run.end("finished")
        await run.say(FINISHED)
    assert await decisions(rig) == [("approved", "sent")]


@pytest.mark.parametrize("case", ["forged", "of somebody else", "an approval", "called off"])
async def test_results_of_calls_that_nobody_waits_for_are_history(
    rig: Rig, ada: httpx.AsyncClient, case: str
) -> None:
    await asked(rig, ada, "int_1", reason="tool_call" if case == "an approval" else "client_tool")
    before = await decisions(rig)
    if case == "called off":
        run = await rig.value("SELECT public_id FROM runs")
        await ada.post(f"/api/runs/{run}/cancel")
        before = await decisions(rig)
    who = await rig.sign_in("bob@example.com") if case == "of somebody else" else ada
    id_ = "int_0" if case == "forged" else "int_1"
    async with carried(rig, who, chat(calls(id_), result(id_)), CHAT) as (run_, answering):
        await run_.end("finished")
        await run_.say(says("Well."), FINISHED)
    assert (await answering).json()["choices"][0]["message"]["content"] == "Well."
    assert await decisions(rig) == before
    made = await rig.value("SELECT input FROM runs ORDER BY id DESC LIMIT 1")
    said = [one["content"] for one in made["messages"]]
    assert said == [USER["content"], f"[called send with {ARGUMENTS}]", "[send returned: sent]"]


async def test_an_agent_that_takes_none_is_offered_none(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    async with carried(rig, ada, chat(tools=[{"type": "nonsense"}]), CHAT) as (run, answering):
        await run.end("finished")
        await run.say(says("Hi."), FINISHED)
    assert (await answering).headers["baton-ignored"] == "tools"
    assert "tools" not in await rig.value("SELECT input FROM runs")


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{"type": "web_search"}], "tools[0].type"),
        ([{"type": "function"}], "tools[0].function"),
        ([{"type": "function", "function": {"name": 1}}], "tools[0].function.name"),
        ([{"type": "function", "function": SEND | {"name": "a b"}}], "tools[0]"),
        ([{"type": "function", "function": SEND | {"parameters": {"type": 1}}}], "tools[0]"),
        (CHAT_TOOLS * 2, "tools[1]"),
        ([{"type": "function", "function": {"name": f"t{n}"}} for n in range(129)], "tools"),
        ({"a": 1}, "tools"),
    ],
)
async def test_tools_that_no_model_can_be_offered_are_refused(
    rig: Rig, ada: httpx.AsyncClient, tools: Any, param: str
) -> None:
    await rig.announce("Assistant", **TAKES)
    answer = await ada.post(CHAT, json=chat(tools=tools))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    await assert_nothing_stored(rig)


def respond(*items: Any, **more: Any) -> dict[str, Any]:
    return {"model": "Assistant", "input": list(items), **more}


def output(id_: str, text: str = "sent") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id_, "output": text}


def decision(id_: str, *, approve: Any = True, **more: Any) -> dict[str, Any]:
    return {
        "type": "mcp_approval_response", "approval_request_id": id_, "approve": approve, **more,
    }  # fmt: skip


async def responded(rig: Rig, ada: httpx.AsyncClient, *ids: str, reason: str) -> dict[str, Any]:
    """A response that waits; streamed, so that it is seen whole."""
    await rig.announce("Assistant", **TAKES)
    body = respond(USER, stream=True, tools=[{"type": "function", **SEND}])
    async with carried(rig, ada, body) as (run, answering):
        await waiting(rig, run, *ids, reason=reason)
    found: dict[str, Any] = events_of(await answering)[-1]["response"]
    Response.model_validate(found, strict=True)
    return found


async def test_calls_of_a_response_are_answered_by_outputs(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    made = await responded(rig, ada, "int_1", "int_2", reason="client_tool")
    assert [one["type"] for one in made["output"]] == ["message", *["function_call"] * 2]
    assert made["output"][1] == {
        "type": "function_call",
        "id": "fc_int_1",
        "call_id": "int_1",
        "name": "send",
        "arguments": ARGUMENTS,
        "status": "completed",
    }
    after = {"previous_response_id": made["id"]}
    for wrong, code in (
        (respond(output("int_1"), **after), "invalid_value"),
        (respond(USER, **after), "invalid_value"),
        (respond(output("int_0"), **after), "invalid_value"),
        (respond(USER, output("int_1"), output("int_2"), **after), "not_supported"),
        (respond(decision("int_1"), decision("int_2"), **after), "invalid_value"),
    ):
        refused = await ada.post(RESPONSES, json=wrong)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, code), wrong
    assert await decisions(rig) == [("open", None)] * 2
    async with carried(rig, ada, respond(output("int_1"), output("int_2", ""), **after)) as (
        run,
        answering,
    ):
        await run.end("finished")
        await run.say(says("Done.", "m9"), FINISHED)
    ended = (await answering).json()
    assert ended["output"][0]["content"][0]["text"] == "Done."
    assert ended["id"] == f"resp_{run.run_id}" != made["id"]
    assert await decisions(rig) == [("approved", "sent"), ("approved", None)]


async def test_approvals_are_asked_and_answered_as_items(rig: Rig, ada: httpx.AsyncClient) -> None:
    made = await responded(rig, ada, "int_1", "int_2", reason="tool_call")
    assert [one["type"] for one in made["output"]][1:] == ["mcp_approval_request"] * 2
    after = {"previous_response_id": made["id"]}
    for wrong in (
        respond(decision("int_0"), **after),
        respond(decision("int_1"), decision("int_1"), **after),
        respond(decision("int_1", approve=False, reason="x" * 2001), **after),
        respond(decision("int_1", approve=1), **after),
    ):
        refused = await ada.post(RESPONSES, json=wrong)
        assert (refused.status_code, refused.json()["error"]["param"] is None) == (400, False)
    bob = await rig.sign_in("bob@example.com")
    assert (await bob.post(RESPONSES, json=respond(decision("int_1")))).status_code == 400
    assert await decisions(rig) == [("open", None)] * 2
    # One after the other: what is left is asked again.
    half = (await ada.post(RESPONSES, json=respond(decision("int_1"), **after))).json()
    assert [one["id"] for one in half["output"] if one["type"] != "message"] == ["int_2"]
    last = respond(decision("int_2", approve=False, reason="Not today."), **after)
    async with carried(rig, ada, last) as (run, answering):
        await run.end("finished")
        await run.say(says("Done.", "m9"), FINISHED)
    assert (await answering).json()["output"][0]["content"][0]["text"] == "Done."
    assert await decisions(rig) == [("approved", None), ("rejected", "Not today.")]


async def test_a_call_of_the_clients_cannot_be_waved_through(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await responded(rig, ada, "int_1", reason="client_tool")
    run = await rig.value("SELECT public_id FROM runs")
    path = f"/api/runs/{run}/approvals"
    yes = {"decisions": [{"id": "int_1", "approved": True}]}
    refused = await ada.post(path, json=yes)
    assert refused.json()["error"]["code"] == "bad_input"
    no = {"decisions": [{"id": "int_1", "approved": False, "message": "The client has gone."}]}
    assert (await ada.post(path, json=no)).json()["resumedBy"]
    assert await decisions(rig) == [("rejected", "The client has gone.")]
