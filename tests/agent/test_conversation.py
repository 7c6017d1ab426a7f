"""A conversation as it is typed."""

import os
import signal
from collections.abc import Callable

import pytest

from agent import conversation
from shared.protocol.codes import Code
from tests.agent.conftest import Baton
from tests.agent.standin import (
    Script,
    StandIn,
    Talk,
    agent,
    finished,
    page,
    refusal,
    started,
    text,
    thread,
)


def answering(words: str) -> Script:
    async def talk(talk: Talk) -> None:
        frame = await talk.begin()
        thread_id, run_id = frame["input"]["threadId"], frame["input"]["runId"]
        await talk.event(thread_id, "1-1", started(thread_id, run_id))
        await talk.event(thread_id, "1-2", text(words))
        await talk.event(thread_id, "1-3", finished(thread_id, run_id))

    return talk


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the arrow keys bring back."""
    lines: list[str] = []

    class Line:
        clear_history: Callable[[], None] = lines.clear
        add_history: Callable[[str], None] = lines.append

    monkeypatch.setattr(conversation, "readline", Line)
    return lines


def test_a_conversation_stays_in_its_thread(known: Baton, standin: StandIn) -> None:
    standin.scripts += [answering("one"), answering("two")]
    result = known("chat", typed="first\n\nsecond\n/quit\n")
    assert result.status == 0
    assert "one" in result.out
    assert "two" in result.out
    first, second = (frame["input"]["threadId"] for frame in standin.frames)
    assert first == second
    assert f"baton chat --thread {first}" in result.err


def test_a_new_thread_is_begun_on_request(known: Baton, standin: StandIn) -> None:
    standin.scripts += [answering("one"), answering("two")]
    known("chat", typed="first\n/new\nsecond\n")
    first, second = (frame["input"]["threadId"] for frame in standin.frames)
    assert first != second


def test_another_agent_answers_from_then_on(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/agents"] = (200, page(agent("Assistant"), agent("Writer")))
    standin.scripts.append(answering("me"))
    result = known("chat", typed="/agent\n/agent Nobody\n/agent Writer\nhello\n")
    assert result.status == 0
    assert "Assistant (answers now)" in result.err
    assert "No agent is called 'Nobody'; /agent lists" in result.err
    assert standin.frames[0]["agent"] == "Writer"


def test_a_thread_that_exists_shows_its_end_and_is_remembered(
    known: Baton, standin: StandIn, remembered: list[str]
) -> None:
    messages = [
        {"id": "m1", "role": "user", "content": "what about tides?"},
        {"id": "m2", "role": "tool", "content": "{}"},
        {"id": "m3", "role": "assistant", "content": "They come and go."},
    ]
    standin.answers["GET /api/threads/thr_7"] = (200, thread("thr_7"))
    standin.answers["GET /api/threads/thr_7/messages"] = (200, page(*messages))
    result = known("chat", "--thread", "thr_7", typed="")
    assert "> what about tides?\nThey come and go.\n" in result.err
    assert remembered == ["what about tides?"]


def test_one_can_go_to_another_thread(
    known: Baton, standin: StandIn, remembered: list[str]
) -> None:
    standin.answers["GET /api/threads/thr_7"] = (200, thread("thr_7") | {"agent": "Writer"})
    standin.answers["GET /api/threads/thr_7/messages"] = (200, page())
    standin.scripts.append(answering("me"))
    result = known("chat", typed="/thread\n/thread thr_7\n/thread\nhello\n")
    assert "Writer · thread thr_7" in result.err
    assert standin.frames[0]["input"]["threadId"] == "thr_7"


@pytest.mark.parametrize("typed", ["/thread thr_9\n", "/conquer\n", "/help\n", "^C\n"])
def test_nothing_that_goes_wrong_ends_a_conversation(
    known: Baton, standin: StandIn, typed: str
) -> None:
    standin.scripts.append(answering("still here"))
    result = known("chat", typed=f"{typed}hello\n")
    assert result.status == 0
    assert "still here" in result.out


def test_a_refused_message_does_not_end_a_conversation(known: Baton, standin: StandIn) -> None:
    async def refused(talk: Talk) -> None:
        await talk.welcome()
        frame = await talk.hear()
        code, message = refusal(Code.RATE_LIMITED)[1]["error"]["code"], "Too much."
        await talk.say("error", id=frame["id"], code=code, message=message, retryable=True)

    standin.scripts += [refused, answering("now")]
    result = known("chat", typed="one\ntwo\n")
    assert "Too much." in result.err
    assert "now" in result.out


def test_leaving_a_run_leaves_the_conversation(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        frame = await talk.begin()
        thread_id, run_id = frame["input"]["threadId"], frame["input"]["runId"]
        cancelled = talk.told(f"POST /api/runs/{run_id}/cancel")
        await talk.event(thread_id, "1-1", started(thread_id, run_id))
        os.kill(os.getpid(), signal.SIGINT)
        await cancelled
        os.kill(os.getpid(), signal.SIGINT)
        await talk.until_hung_up()

    standin.scripts.append(talk)
    assert known("chat", typed="hello\nmore\n").status == 130
