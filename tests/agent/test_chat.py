"""One message and its answer: streaming, refusals, lost connections, Ctrl-C."""

from typing import Any

import pytest

from shared.protocol.codes import Code
from tests.agent.conftest import Baton
from tests.agent.standin import (
    StandIn,
    Talk,
    agent,
    answer,
    finished,
    ids,
    page,
    refusal,
    started,
    text,
    thread,
)


def test_the_answer_alone_goes_to_standard_output(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        await answer(talk, await talk.begin(), "Hel", "lo ", "world")

    standin.scripts.append(talk)
    result = known("chat", "hi")
    assert (result.status, result.out) == (0, "Hello world\n")
    (frame,) = standin.frames
    assert frame["agent"] == "Assistant"
    assert frame["input"]["messages"][0]["content"] == "hi"


def test_as_json_every_event_is_a_line(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        await answer(talk, await talk.begin(), "é\x1b[2J")

    standin.scripts.append(talk)
    result = known("chat", "hi", "--json")
    assert [line["id"] for line in result.lines] == ["1-1", "1-2", "1-3"]
    assert result.lines[1]["event"]["delta"] == "é\x1b[2J"
    assert "\x1b" not in result.out


def test_what_a_model_writes_cannot_harm_the_terminal(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        await answer(talk, await talk.begin(), "a\x1b", "[2Jb", "\x9b31m[red]c")

    standin.scripts.append(talk)
    assert known("chat", "hi").out == "a[2Jb31m[red]c\n"


def test_tools_hand_offs_and_sub_agents_are_quiet_lines(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        thread_id, run_id = ids(await talk.begin())
        events: list[dict[str, Any]] = [
            started(thread_id, run_id),
            {"type": "STEP_STARTED", "stepName": "Assistant"},
            {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "save_note"},
            {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": '{"text":'},
            {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": '"plants"}'},
            {"type": "TOOL_CALL_END", "toolCallId": "c1"},
            {"type": "SUBAGENT_STARTED", "subagentRunId": "s1", "name": "Summarizer"},
            text("inner") | {"subagentRunId": "s1"},
            {"type": "TOOL_CALL_RESULT", "toolCallId": "c1", "content": '{"id":7}'},
            {"type": "TOOL_CALL_START", "toolCallId": "c3", "toolCallName": "delete_note"},
            {"type": "TOOL_CALL_RESULT", "toolCallId": "c3", "content": "No such note."}
            | {"metadata": {"baton": {"failed": True}}},
            {"type": "TOOL_CALL_START", "toolCallId": "c2", "toolCallName": "transfer_to_x"},
            {"type": "TOOL_CALL_END", "toolCallId": "c2"},
            {"type": "STEP_STARTED", "stepName": "Researcher"},
            {"type": "CUSTOM", "name": "baton.resumed"},
            {"type": "CUSTOM", "name": "baton.waiting", "value": {"message": "Busy; 8 s."}},
            {"type": "CUSTOM", "name": "baton.waiting", "value": None},
            {"type": "CUSTOM", "name": "baton.restarted", "value": {"messageIds": ["m0"]}},
            {"type": "SOMETHING_NEW"},
            text("outer"),
            finished(thread_id, run_id) | {"usage": [{"totalTokens": 1234}]},
        ]
        for seq, event in enumerate(events, 1):
            await talk.event(thread_id, f"1-{seq}", event)

    standin.scripts.append(talk)
    result = known("chat", "hi")
    assert result.out == "outer\n"
    assert [line.strip() for line in result.err.splitlines()] == [
        '▸ save_note text="plants"',
        "⇢ Summarizer",
        '✓ save_note {"id":7}',
        "✗ delete_note No such note.",
        "⇢ Researcher",
        "↻ another runner has taken over; what was unfinished is written anew",
        "… Busy; 8 s.",
        "… waits for the model server",
        "↻ the model's answer broke off; it is written anew",
        "done · 1,234 tokens",
    ]


@pytest.mark.parametrize(
    ("outcome", "status", "words"),
    [("cancelled", 1, "stopped"), ("interrupt", 3, "waits for a person"), ("new", 1, "new")],
)
def test_the_exit_status_tells_how_a_run_ended(
    known: Baton, standin: StandIn, outcome: str, status: int, words: str
) -> None:
    async def talk(talk: Talk) -> None:
        thread_id, run_id = ids(await talk.begin())
        await talk.event(thread_id, "1-1", started(thread_id, run_id))
        await talk.event(thread_id, "1-2", finished(thread_id, run_id, outcome))

    standin.scripts.append(talk)
    result = known("chat", "hi")
    assert result.status == status
    assert words in result.err


def test_a_run_error_is_told_and_ends_with_one(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        thread_id, run_id = ids(await talk.begin())
        await talk.event(thread_id, "1-1", started(thread_id, run_id))
        error = {"type": "RUN_ERROR", "code": "upstream_auth", "message": "Our key was refused."}
        await talk.event(thread_id, "1-2", error)

    standin.scripts.append(talk)
    result = known("chat", "hi")
    assert result.status == 1
    assert "Our key was refused." in result.err


def test_a_refused_run_is_told(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        await talk.welcome()
        frame = await talk.hear()
        error = {"code": "unknown_agent", "message": "Nobody is called X.", "retryable": False}
        await talk.say("error", id=frame["id"], **error)

    standin.scripts.append(talk)
    result = known("chat", "hi", "--agent", "X")
    assert result.status == 1
    assert "Nobody is called X." in result.err


def test_a_thread_is_gone_on_in_with_its_agent(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        await answer(talk, await talk.begin(), "again")

    standin.answers["GET /api/threads/thr_7"] = (200, thread("thr_7") | {"agent": "Writer"})
    standin.scripts.append(talk)
    assert known("chat", "hi", "--thread", "thr_7").out == "again\n"
    assert standin.frames[0]["agent"] == "Writer"
    assert standin.frames[0]["input"]["threadId"] == "thr_7"


def test_an_unknown_thread_is_told(known: Baton) -> None:
    result = known("chat", "hi", "--thread", "thr_9")
    assert result.status == 1
    assert "nothing by this id" in result.err


def test_the_message_can_come_through_a_pipe(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        await answer(talk, await talk.begin(), "read")

    standin.scripts.append(talk)
    assert known("chat", stdin="from a file\nof two lines").out == "read\n"
    assert standin.frames[0]["input"]["messages"][0]["content"] == "from a file\nof two lines"


@pytest.mark.parametrize("arguments", [("chat",), ("chat", "  "), ("chat", "--json")])
def test_saying_nothing_is_wrong_usage(known: Baton, arguments: tuple[str, ...]) -> None:
    result = known(*arguments)
    assert result.status == 2
    assert "nothing to say" in result.err


def test_text_that_no_encoding_can_hold_is_sent_all_the_same(
    known: Baton, standin: StandIn
) -> None:
    async def talk(talk: Talk) -> None:
        await answer(talk, await talk.begin(), "ok")

    standin.scripts.append(talk)
    assert known("chat", "half \udcff").status == 0
    assert standin.frames[0]["input"]["messages"][0]["content"] == "half ?"


@pytest.mark.parametrize(
    ("names", "status", "words"),
    [
        ((), 1, "No agent is served"),
        (("A", "B"), 2, "--agent A|B"),
    ],
)
def test_who_answers_must_be_clear(
    known: Baton, standin: StandIn, names: tuple[str, ...], status: int, words: str
) -> None:
    standin.answers["GET /api/agents"] = (200, page(*map(agent, names)))
    result = known("chat", "hi")
    assert result.status == status
    assert words in result.err


def test_the_only_agent_answers_unasked(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        await answer(talk, await talk.begin(), "me")

    standin.answers["GET /api/agents"] = (200, page(agent("Solo")))
    standin.scripts.append(talk)
    known("chat", "hi")
    assert standin.frames[0]["agent"] == "Solo"


def test_a_thread_of_nobodys_agents_is_refused(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/agents"] = refusal(Code.UNAVAILABLE)
    assert known("chat", "hi").status == 1
