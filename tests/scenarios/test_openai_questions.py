"""Runs that wait for a client over HTTP: for its own tools, and for its decisions."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from openai.types.responses import ResponseFunctionToolCall, ResponseInputParam
from openai.types.responses.response_output_item import McpApprovalRequest

from shared.protocol.ids import new_id, new_thread_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Person
from tests.scenarios.openai_caller import Caller, says

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

DESK = """
from agents import Agent, function_tool

@function_tool
def look(what: str) -> str:
    return f"seen {what}"

@function_tool(needs_approval=True)
def send(to: str) -> str:
    return f"sent to {to}"

agent = Agent(name="Desk", tools=[look, send])
"""
CLICK: Any = {
    "name": "click",
    "description": "Clicks.",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
}
FRONTEND = Path(__file__).parent.parent / "js" / "frontend_tools.mjs"
CLICKS = '[[tool=look {"what": "x"}]] [[tool=click {"at": "a"}]]'


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    desk = tmp_path_factory.mktemp("agents") / "Desk"
    desk.mkdir()
    (desk / "agent.py").write_text(DESK)
    (desk / "agent.yaml").write_text("client_tools: true\n")
    return desk.parent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores, agents: Path) -> AsyncIterator[Stack]:
    env = {"BATON_AGENTS_HOME": str(agents)}
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(
            gateways=2, runners=2, demo=True, database_url=url, env=env
        ) as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def callers(stack: Stack) -> AsyncIterator[list[Caller]]:
    """The same person at both gateways."""
    ada = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    key = (await ada.http.post("/api/keys", json={"name": "program"})).json()["key"]
    both = [Caller(url, key) for url in stack.gateway_urls]
    yield both
    for one in both:
        await one.close()
    await ada.http.aclose()


async def test_a_client_carries_out_what_the_model_calls_and_the_run_goes_on(
    callers: list[Caller], stack: Stack
) -> None:
    first, second = (one.client.chat.completions for one in callers)
    messages: list[Any] = [says(CLICKS)]
    tools: Any = [{"type": "function", "function": CLICK}]
    asked = await first.create(model="Desk", messages=messages, tools=tools)
    (choice,) = asked.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("click", {"at": "a"})
    for name, process in stack.processes.items():  # nobody holds what waits
        if name.startswith("runner"):
            process.kill(signal.SIGKILL)
    messages += [
        choice.message.to_dict(),
        {"role": "tool", "tool_call_id": call.id, "content": "clicked at a"},
    ]
    ended = await second.create(model="Desk", messages=messages, tools=tools)
    assert ended.choices[0].finish_reason == "stop"
    said = ended.choices[0].message.content or ""
    assert "clicked at a" in said
    assert "seen x" in said


@pytest.mark.node
async def test_the_official_client_of_agui_carries_out_calls_of_its_own(
    callers: list[Caller],
) -> None:
    caller = callers[0]
    given = {
        "url": f"{caller.http.base_url}/agui/Desk",
        "headers": {"authorization": caller.http.headers["authorization"]},
        "threadId": new_thread_id(),
        "tools": [CLICK],
        "says": [CLICKS, "hello", '[[tool=click {"at": "b"}]]'],
        "results": {"click": "clicked it"},
    }
    node = await asyncio.create_subprocess_exec(
        *(shutil.which("node") or "node", str(FRONTEND)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await node.communicate(json.dumps(given).encode())
    said = json.loads(out)
    assert (said["warnings"], said["errors"]) == ([], [])
    assert said["called"] == [["click", {"at": "a"}], ["click", {"at": "b"}]]
    assert sorted(said["told"]) == ["clicked it", "clicked it", "seen x"]
    first, _, last = said["texts"]
    assert "clicked it" in first
    assert "seen x" in first
    assert "clicked it" in last


async def test_a_response_is_answered_by_outputs_as_a_stream(callers: list[Caller]) -> None:
    responses = callers[0].client.responses
    tools: Any = [{"type": "function", "strict": False, **CLICK}]
    asked = await responses.create(model="Desk", input=CLICKS, tools=tools)
    (call,) = asked.output
    assert isinstance(call, ResponseFunctionToolCall)
    given: ResponseInputParam = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "clicked at a"}
    ]
    async with responses.stream(model="Desk", input=given, previous_response_id=asked.id) as stream:
        ended = await stream.get_final_response()
    assert "clicked at a" in ended.output_text


@pytest.mark.parametrize("approve", [True, False])
async def test_approvals_are_asked_and_answered_as_items(
    callers: list[Caller], approve: bool
) -> None:
    responses = callers[0].client.responses
    asked = await responses.create(model="Desk", input='[[tool=send {"to": "ada"}]]')
    (request,) = asked.output
    assert isinstance(request, McpApprovalRequest)
    assert (request.name, request.server_label) == ("send", "Desk")
    said: ResponseInputParam = [
        {
            "type": "mcp_approval_response",
            "approval_request_id": request.id,
            "approve": approve,
            "reason": "Not today.",
        }
    ]
    ended = await responses.create(model="Desk", input=said, previous_response_id=asked.id)
    assert ("sent to ada" if approve else "Not today.") in ended.output_text
    read = await responses.retrieve(asked.id)
    assert read.output_text == ended.output_text


# ------------------------------------------------------------------------ items named by their ids
async def test_a_history_may_name_answers_by_their_ids(callers: list[Caller]) -> None:
    responses = callers[0].client.responses
    first = await responses.create(model="Desk", input="hello")
    named: Any = {"type": "item_reference", "id": first.output[0].id}
    history: Any = [says("hello"), named, says("and tea")]
    second = await responses.create(model="Desk", input=history)
    read: list[Any] = [
        one.to_dict() async for one in responses.input_items.list(second.id, order="asc")
    ]
    assert [one["role"] for one in read] == ["user", "assistant", "user"]
    assert first.output_text == read[1]["content"][0]["text"]


async def test_a_history_names_what_came_of_an_approval_and_it_is_approved_by_its_id(
    callers: list[Caller],
) -> None:
    """As Vercel's AI SDK sends it: the question itself stays with the server, too."""
    responses = callers[0].client.responses
    text = '[[tool=send {"to": "bob"}]]'
    asked = await responses.create(model="Desk", input=text)
    id_ = asked.output[0].id
    approved = {"type": "mcp_approval_response", "approval_request_id": id_, "approve": True}
    said: Any = [says(text), {"type": "item_reference", "id": id_}, approved]
    ended = await responses.create(model="Desk", input=said)
    assert "sent to bob" in ended.output_text
    # The response that asked has its answer under its own id now.
    read = await responses.retrieve(asked.id)
    later: Any = [says(text), {"id": read.output[0].id}, says("and tea")]
    again = await responses.create(model="Desk", input=later)
    told = [one.to_dict() async for one in responses.input_items.list(again.id, order="asc")]
    assert "sent to bob" in json.dumps(told[1])


async def test_a_call_of_a_client_may_be_named_beside_its_output(callers: list[Caller]) -> None:
    responses = callers[0].client.responses
    tools: Any = [{"type": "function", "strict": False, **CLICK}]
    asked = await responses.create(model="Desk", input=CLICKS, tools=tools)
    (call,) = asked.output
    assert isinstance(call, ResponseFunctionToolCall)
    given: Any = [
        says(CLICKS),
        {"type": "item_reference", "id": call.id},
        {"type": "function_call_output", "call_id": call.call_id, "output": "clicked at a"},
    ]
    assert "clicked at a" in (await responses.create(model="Desk", input=given)).output_text


@pytest.mark.parametrize("id_", ["msg_run_nobodys", "int_0", "fc_int_0", "rs_1", "ü", "x" * 999, 7])
async def test_what_is_named_and_not_there_is_refused(callers: list[Caller], id_: Any) -> None:
    body = {"model": "Desk", "input": [{"type": "item_reference", "id": id_}, says("hello")]}
    answer = await callers[0].http.post("/v1/responses", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input[0].id")


async def test_an_answer_of_somebody_else_or_of_a_deleted_response_is_not_there(
    callers: list[Caller], stack: Stack
) -> None:
    responses = callers[0].client.responses
    first = await responses.create(model="Desk", input="hello")
    body = {"model": "Desk", "input": [{"id": first.output[0].id}, says("hello")]}
    bob = await Person(stack.gateway_urls[0], f"{new_id('bob')}@example.com").sign_in()
    key = (await bob.http.post("/api/keys", json={"name": "program"})).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    theirs = await callers[0].http.post("/v1/responses", json=body, headers=headers)
    await responses.delete(first.id)
    deleted = await callers[0].http.post("/v1/responses", json=body)
    assert (theirs.status_code, deleted.status_code) == (400, 400)
    await bob.http.aclose()


async def test_names_of_more_than_a_body_may_have_are_refused(callers: list[Caller]) -> None:
    responses = callers[0].client.responses
    first = await responses.create(model="Desk", input="[[large=300000]]")
    body = {"model": "Desk", "input": [{"id": first.output[0].id}] * 4 + [says("hello")]}
    answer = await callers[0].http.post("/v1/responses", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
