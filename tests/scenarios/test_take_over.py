"""A runner dies in the middle: another goes on from the last finished step, and nobody notices."""

import signal

import httpx
import pytest
from ag_ui_validate.pytest_plugin import assert_valid_agui

from shared.protocol.ids import new_thread_id
from stack.running import Stack
from tests.scenarios.client import Frame, Person, Socket, assert_gapless, text_of
from tests.scenarios.sql import carrier, select

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

#: Legitimate after a take-over: a second beginning under another fence, and a call that was cut in
#: the middle of its arguments, ended where it stood, and withdrawn by the snapshot.
TAKEN_OVER = {"AGUI104": "off", "AGUI105": "off", "AGUI204": "off"}


async def seen(socket: Socket, kind: str, times: int = 1) -> Frame:
    for _ in range(times):
        frame = await socket.until(lambda f: f.get("event", {}).get("type") == kind)
    return frame


async def test_finished_steps_are_not_done_again(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    text = 'take over [[turns=3 save_note {"text":"once"}]] [[tokens_per_s=10]]'
    async with ada.socket() as socket:
        ack = await socket.say(thread, text)
        await seen(socket, "TOOL_CALL_RESULT", 2)
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        await socket.finished()
    events = [frame["event"] for frame in socket.events()]
    assert [e["type"] for e in events].count("RUN_STARTED") == 1
    assert events[-1]["type"] == "RUN_FINISHED"
    assert any(e["type"] == "CUSTOM" and e["name"] == "baton.resumed" for e in events)
    assert_gapless(socket.events())
    assert len(await select(stack, "SELECT 1 FROM notes WHERE body = 'once'")) == 3
    # Four calls, and once more the one that may have been cut by the kill.
    assert await calls_of(stack, "take over") in (4, 5)
    assert_valid_agui(events, severity_overrides=TAKEN_OVER)


async def test_half_written_text_is_withdrawn_and_written_anew(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        ack = await socket.say(thread, "[[deltas=60]] [[tokens_per_s=30]]")
        await seen(socket, "TEXT_MESSAGE_CHUNK", 10)
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        await seen(socket, "MESSAGES_SNAPSHOT")
        before = len(socket.events())
        await socket.finished()
    messages = (await ada.get(f"/api/threads/{thread}/messages"))["data"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[-1]["content"] == text_of(socket.events()[before:])
    assert socket.events()[before - 1]["event"]["messages"] == messages[:1]


async def calls_of(stack: Stack, text: str) -> int:
    """Model calls whose request holds a text."""
    async with httpx.AsyncClient(base_url=stack.demo_url or "", trust_env=False) as http:
        recorded = (await http.get("/_demo/requests")).json()["data"]
    return sum(text in str(request["body"]) for request in recorded)


async def test_a_hand_off_is_not_made_again(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        ack = await socket.say(thread, "research the tea of ancients [[tokens_per_s=20]]")
        await seen(socket, "TEXT_MESSAGE_CHUNK", 3)
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        await socket.finished()
    events = [frame["event"] for frame in socket.events()]
    assert [e["type"] for e in events].count("TOOL_CALL_START") == 1
    steps = [e["stepName"] for e in events if e["type"] == "STEP_STARTED"]
    assert steps == ["Assistant", "Researcher", "Researcher"]
    messages = (await ada.get(f"/api/threads/{thread}/messages"))["data"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "reasoning", "assistant"]
    assert_valid_agui(events, severity_overrides=TAKEN_OVER)


async def test_a_nested_agent_goes_on_where_it_was(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    text = 'nested case [[tool=summarize {"input": "[[deltas=40]] [[tokens_per_s=20]]"}]]'
    async with ada.socket() as socket:
        ack = await socket.say(thread, text)
        await seen(socket, "TEXT_MESSAGE_CONTENT", 3)
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        end = await socket.finished()
    events = [frame["event"] for frame in socket.events()]
    assert end["event"]["type"] == "RUN_FINISHED"
    assert [e["type"] for e in events].count("TOOL_CALL_START") == 1
    assert [e["type"] for e in events].count("SUBAGENT_STARTED") == 2
    assert [e["type"] for e in events].count("TOOL_CALL_RESULT") == 1
    assert_valid_agui(events, severity_overrides=TAKEN_OVER)
