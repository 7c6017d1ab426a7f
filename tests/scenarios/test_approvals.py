"""A run asks a person before it does something, and goes on with the answer, by every door."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from ag_ui_validate.pytest_plugin import assert_valid_agui
from httpx import Response

from shared.export import lines_of
from shared.judge import judge
from shared.protocol.ids import new_id, new_run_id, new_thread_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Frame, Person, Socket
from tests.scenarios.sql import select

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

CODE = """
from agents import Agent, function_tool

@function_tool(needs_approval=True)
def send(to: str) -> str:
    return f"sent to {to}"

@function_tool
def look(what: str) -> str:
    return f"seen {what}"

clerk = Agent(name="Clerk", tools=[send])
agent = Agent(name="Mailer", tools=[send, look, clerk.as_tool("clerk", "A clerk.")])
"""
OURS = ("gateway", "runner", "toolsvc")
ASKS = '[[tool=look {"what": "x"}]] [[tool=send {"to": "ada"}]]'


#: An agent as tool that asks.
INSIDE = '[[tool=clerk {"input": "[[tool=send {\\"to\\": \\"ada\\"}]]"}]]'


def write(file: Path, code: str) -> None:
    file.write_text(code)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("agents") / "Mailer" / "agent.py"
    made.parent.mkdir()
    write(made, CODE)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores, file: Path) -> AsyncIterator[Stack]:
    env = {"BATON_AGENTS_HOME": str(file.parent.parent)}
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(
            gateways=2, runners=2, demo=True, database_url=url, env=env
        ) as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def ada(stack: Stack) -> AsyncIterator[Person]:
    person = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    yield person
    await person.http.aclose()


async def asks(socket: Socket, thread: str, text: str = ASKS) -> tuple[str, list[Frame]]:
    """Let a run ask; its id, and AG-UI's interrupts."""
    ack = await socket.say(thread, text, agent="Mailer")
    end = (await socket.finished())["event"]
    assert end["outcome"]["type"] == "interrupt", end
    return ack["runId"], end["outcome"]["interrupts"]


def answers(interrupts: list[Frame], **payload: Any) -> list[Frame]:
    return [
        {"interruptId": one["id"], "status": "resolved", "payload": payload} for one in interrupts
    ]


def results(frames: list[Frame]) -> dict[str, str]:
    """Contents of results by the call's id."""
    return {
        frame["event"]["toolCallId"]: frame["event"]["content"]
        for frame in frames
        if frame.get("event", {}).get("type") == "TOOL_CALL_RESULT"
    }


async def test_it_asks_holds_nothing_and_goes_on_at_another_gateway(
    stack: Stack, ada: Person
) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        run, (asked,) = await asks(socket, thread)
    assert asked["metadata"]["baton"]["tool"] == "send"
    assert asked["metadata"]["baton"]["arguments"] == '{"to": "ada"}'
    assert list(results(socket.frames).values()) == ["seen x"]
    query = "SELECT status, runner_id FROM runs WHERE public_id = %s"
    assert await select(stack, query, run) == [("interrupted", None)]
    async with ada.socket(url=stack.gateway_urls[1]) as socket:
        resumed = new_run_id()
        given = {
            "threadId": thread,
            "runId": resumed,
            "messages": [],
            "resume": answers([asked], approved=True),
        }
        ack = await socket.answer(await socket.send(op="run", input=given))
        assert (ack["op"], ack["runId"], ack["queued"]) == ("ack", resumed, False)
        end = (await socket.finished())["event"]
    assert (end["runId"], end["outcome"]["type"]) == (resumed, "success")
    assert results(socket.frames) == {asked["toolCallId"]: "sent to ada"}
    begun = [f["event"] for f in socket.events() if f["event"]["type"] == "RUN_STARTED"]
    assert [one["parentRunId"] for one in begun] == [run]


async def decide(person: Person, run: str, *decisions: Frame) -> Any:
    path = f"/api/runs/{run}/approvals"
    return await person.http.post(path, json={"decisions": list(decisions)})


async def test_the_last_decision_by_rest_makes_it_go_on_with_the_persons_words(
    ada: Person,
) -> None:
    thread = new_thread_id()
    two = (
        '[[tool=send {"to": "ada"}]] [[tool=clerk {"input": "hello"}]] [[tool=send {"to": "bob"}]]'
    )
    async with ada.socket() as socket:
        run, asked = await asks(socket, thread, two)
        ids = {one["metadata"]["baton"]["arguments"]: one["id"] for one in asked}
        to_ada, to_bob = ids['{"to": "ada"}'], ids['{"to": "bob"}']
        first = (await decide(ada, run, {"id": to_ada, "approved": True})).json()
        assert (first["resumedBy"], len(first["data"])) == (None, 2)
        refusal = {"id": to_bob, "approved": False, "message": "Bob is away."}
        last = (await decide(ada, run, refusal)).json()
        end = (await socket.finished())["event"]
        again = (await decide(ada, run, refusal)).json()
    assert (end["runId"], end["outcome"]["type"]) == (last["resumedBy"], "success")
    assert again == last
    assert {one["status"] for one in last["data"]} == {"approved", "rejected"}
    assert {"sent to ada", "Bob is away."} <= set(results(socket.frames).values())
    conflict = await decide(ada, run, {"id": to_ada, "approved": False})
    assert (conflict.status_code, conflict.json()["error"]["code"]) == (409, "conflict")


async def test_while_it_waits_others_wait_or_take_its_place(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        run, (asked,) = await asks(socket, thread)
        waiting = await socket.say(thread, "hello", agent="Mailer")
        assert (waiting["queued"], waiting["waitsFor"]) == (True, [asked["id"]])
        rejected = await socket.say(thread, "hello", agent="Mailer", ifBusy="reject")
        assert rejected["code"] == "busy"
        instead = await socket.say(thread, "hello", agent="Mailer", ifBusy="interrupt")
        both = await socket.ends(waiting["runId"], instead["runId"])
        ends = [one["event"] for one in both]
    assert [(one["runId"], one["outcome"]["type"]) for one in ends] == [
        (waiting["runId"], "cancelled"),
        (instead["runId"], "success"),
    ]
    found = (await ada.get(f"/api/runs/{run}/approvals"))["data"]
    assert [(one["status"], one["decidedBy"]) for one in found] == [("superseded", ada.email)]
    late = await decide(ada, run, {"id": asked["id"], "approved": True})
    assert late.status_code == 409


async def test_what_waited_behind_it_goes_on_after_it(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        run, (asked,) = await asks(socket, thread)
        waiting = await socket.say(thread, "hello", agent="Mailer")
        after = (await decide(ada, run, {"id": asked["id"], "approved": True})).json()
        ends = [(await socket.finished())["event"]["runId"] for _ in range(2)]
    assert ends == [after["resumedBy"], waiting["runId"]]


async def test_a_decision_after_everything_was_restarted_and_the_code_is_new(
    stack: Stack, ada: Person, file: Path
) -> None:
    """A week and a deploy later, as far as a test can wait: what counts is the journal."""
    thread = new_thread_id()
    async with ada.socket() as socket:
        run, (asked,) = await asks(socket, thread)
    write(file, CODE.replace('"A clerk."', '"The clerk of today."'))
    ours = [one for name, one in stack.processes.items() if name.startswith(OURS)]
    await asyncio.gather(*(one.restart() for one in ours))
    async with ada.socket() as socket:
        await socket.answer(await socket.send(op="subscribe", threadId=thread))
        made = (await decide(ada, run, {"id": asked["id"], "approved": True})).json()
        end = (await socket.finished())["event"]
    assert (end["runId"], end["outcome"]["type"]) == (made["resumedBy"], "success")
    assert results(socket.frames) == {asked["toolCallId"]: "sent to ada"}


async def test_a_client_of_the_openai_api_reads_the_question_and_then_the_rest(
    ada: Person,
) -> None:
    body = {"model": "Mailer", "messages": [{"role": "user", "content": ASKS}]}
    headers = {"Idempotency-Key": new_id("key")}

    async def called() -> Response:
        return await ada.http.post("/v1/chat/completions", json=body, headers=headers)

    async def asked() -> str:
        return str((await called()).json()["choices"][0]["message"]["content"])

    answer, question = await called(), await asked()
    assert 'Mailer asks whether it may call send with {"to": "ada"}' in question
    assert await asked() == question
    thread, run = answer.headers["Baton-Thread"], answer.headers["Baton-Run"]
    assert question.split()[-1].endswith(f"/#/{thread}")
    assert (await ada.get(f"/api/threads/{thread}"))["id"] == thread  # what that page loads
    path = f"/api/runs/{run}/approvals"
    (open_,) = (await ada.get(path))["data"]
    said = {"id": open_["id"], "approved": True}
    assert (await ada.http.post(path, json={"decisions": [said]})).status_code == 200
    rest = await asked()
    assert "sent to ada" in rest
    assert "asks whether" not in rest


async def test_what_clients_see_of_agents_inside_that_ask_is_sound(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        run, (asked,) = await asks(socket, thread, INSIDE)
        before = [frame["event"] for frame in socket.events()]
        assert asked["metadata"]["baton"]["agent"] == "Clerk"
        await decide(ada, run, {"id": asked["id"], "approved": True})
        await socket.finished()
        after = [frame["event"] for frame in socket.events()][len(before) :]
    ended = [one for one in before if one["type"] == "SUBAGENT_FINISHED"]
    assert [one["outcome"] for one in ended] == [{"type": "suspended"}]
    assert asked["subagentRunId"] == ended[0]["subagentRunId"]
    assert_valid_agui(before)
    # The results are of calls that the run before has made.
    assert_valid_agui(after, severity_overrides={"AGUI207": "off"})
    exported = await ada.http.get(f"/api/runs/{run}/export")
    assert judge(lines_of([exported.content]), None).problem is None
