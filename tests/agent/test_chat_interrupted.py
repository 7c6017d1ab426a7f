"""`chat`, interrupted: a gateway that goes away and comes back or not, and Ctrl-C."""

import os
import signal
import time

import pytest

from agent import client, follow, realtime
from shared.protocol.codes import Close
from tests.agent.conftest import Baton
from tests.agent.standin import (
    StandIn,
    Talk,
    answer,
    finished,
    ids,
    page,
    run,
    started,
    text,
)


def test_a_lost_connection_is_made_anew_from_the_cursor(known: Baton, standin: StandIn) -> None:
    async def first(talk: Talk) -> None:
        thread_id, run_id = ids(await talk.begin())
        await talk.event(thread_id, "1-1", started(thread_id, run_id))
        await talk.event(thread_id, "1-2", text("Hello "))
        await talk.close(Close.RESTARTING)

    async def second(talk: Talk) -> None:
        frame = await talk.begin()
        assert (frame["op"], frame["after"]) == ("subscribe", "1-2")
        thread_id, run_id = ids(standin.frames[0])
        await talk.event(thread_id, "1-2", text("Hello "))
        await talk.event(thread_id, "1-3", text("world"))
        await talk.event(thread_id, "1-4", finished(thread_id, run_id))

    standin.scripts += [first, second]
    result = known("chat", "hi")
    assert (result.status, result.out) == (0, "Hello world\n")
    assert "connection lost" in result.err


def test_after_a_reset_nothing_is_printed_twice(known: Baton, standin: StandIn) -> None:
    call = {"type": "TOOL_CALL_END", "toolCallId": "c1"}

    async def first(talk: Talk) -> None:
        thread_id, run_id = ids(await talk.begin())
        await talk.event(thread_id, "1-1", started(thread_id, run_id))
        await talk.event(thread_id, "1-2", call)
        await talk.event(thread_id, "1-3", text("Hello "))
        await talk.close(Close.RESTARTING)

    async def second(talk: Talk) -> None:
        await talk.begin()
        thread_id, run_id = ids(standin.frames[0])
        run_now = {"runId": run_id}
        reset = {"cursor": "1-0", "messages": [], "more": False, "run": run_now}
        await talk.say("reset", threadId=thread_id, **reset)
        await talk.event(thread_id, "1-1", started(thread_id, run_id))
        await talk.event(thread_id, "1-2", call)
        await talk.event(thread_id, "1-4", text("Hello world"))  # adjacent deltas, joined
        await talk.event(thread_id, "1-5", finished(thread_id, run_id))

    standin.scripts += [first, second]
    result = known("chat", "hi")
    assert result.out.replace("\n", "") == "Hello world"
    assert result.err.count("▸") == 1

    standin.frames.clear()
    standin.scripts += [first, second]
    lines = known("chat", "hi", "--json").lines
    assert [line.get("id", "reset") for line in lines] == [
        *("1-1", "1-2", "1-3"),
        *("reset", "1-1", "1-2", "1-4", "1-5"),
    ]


def test_a_run_that_ended_while_we_were_away_is_read_from_rest(
    known: Baton, standin: StandIn
) -> None:
    async def first(talk: Talk) -> None:
        await talk.begin()
        await talk.close(Close.RESTARTING)

    async def second(talk: Talk) -> None:
        await talk.begin()
        thread_id, run_id = ids(standin.frames[0])
        events = [
            {"id": "1-1", "event": started(thread_id, run_id)},
            {"id": "1-3", "event": text("Hello world")},
            {"id": "1-4", "event": finished(thread_id, run_id)},
        ]
        standin.answers[f"GET /api/runs/{run_id}"] = (200, run(run_id, "finished"))
        standin.answers[f"GET /api/runs/{run_id}/events"] = (200, page(*events))
        await talk.say("reset", threadId=thread_id, cursor="1-4", messages=[], more=False, run=None)
        await talk.say("live", threadId=thread_id, cursor="1-4")

    standin.scripts += [first, second]
    result = known("chat", "hi")
    assert (result.status, result.out) == (0, "Hello world\n")


def test_a_gateway_that_restarts_while_it_is_asked_only_delays(
    known: Baton, standin: StandIn
) -> None:
    async def first(talk: Talk) -> None:
        await talk.begin()
        await talk.close(Close.RESTARTING)

    async def second(talk: Talk) -> None:
        await talk.begin()
        thread_id, run_id = ids(standin.frames[0])
        standin.answers[f"GET /api/runs/{run_id}"] = (503, "<html>")
        await talk.say("live", threadId=thread_id, cursor="0-0")
        await talk.until_hung_up()

    async def third(talk: Talk) -> None:
        await talk.begin()
        await answer(talk, standin.frames[0], "in the end")

    standin.scripts += [first, second, third]
    assert known("chat", "hi").out == "in the end\n"


def test_a_run_whose_acknowledgement_was_lost_is_asked_for_again(
    known: Baton, standin: StandIn
) -> None:
    async def first(talk: Talk) -> None:
        await talk.welcome()
        await talk.hear()
        await talk.close(Close.RESTARTING)

    async def second(talk: Talk) -> None:
        frame = await talk.begin()
        assert frame == standin.frames[0]
        subscribe = await talk.hear()
        assert subscribe["op"] == "subscribe"
        await talk.say("ack", id=subscribe["id"])
        await answer(talk, frame, "once")

    standin.scripts += [first, second]
    assert known("chat", "hi").out == "once\n"


def test_a_gateway_that_stays_away_is_given_up_with_the_way_back(
    known: Baton, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "GIVE_UP_S", -1.0)

    async def talk(talk: Talk) -> None:
        thread_id, run_id = ids(await talk.begin())
        await talk.event(thread_id, "3-1", started(thread_id, run_id))
        await talk.close(Close.RESTARTING)

    standin.scripts.append(talk)
    result = known("chat", "hi")
    assert result.status == 1
    assert "--after 3-1" in result.err


@pytest.mark.parametrize(
    ("code", "words"),
    [(Close.NOT_SIGNED_IN, "baton login"), (Close.BAD_ORIGIN, "refuses")],
)
def test_a_final_close_ends_in_words(
    known: Baton, standin: StandIn, code: Close, words: str
) -> None:
    async def talk(talk: Talk) -> None:
        await talk.close(code)

    standin.scripts.append(talk)
    result = known("chat", "hi")
    assert result.status == 1
    assert words in result.err


def test_another_version_of_the_protocol_is_told(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        await talk.welcome(version=2)

    standin.scripts.append(talk)
    result = known("chat", "hi")
    assert result.status == 1
    assert "not a Baton gateway of this version" in result.err


def test_a_frame_that_makes_no_sense_only_costs_the_connection(
    known: Baton, standin: StandIn
) -> None:
    async def first(talk: Talk) -> None:
        await talk.begin()
        await talk.say_raw("[nonsense")

    async def second(talk: Talk) -> None:
        await talk.begin()
        await answer(talk, standin.frames[0], "fine")

    standin.scripts += [first, second]
    assert known("chat", "hi").out == "fine\n"


def test_a_message_larger_than_a_frame_is_refused_here(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        await talk.welcome()

    standin.scripts.append(talk)
    result = known("chat", "x" * 1_048_576)
    assert result.status == 1
    assert "larger" in result.err


def test_a_silent_gateway_is_away(
    known: Baton, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime, "OPEN_S", 0.05)

    async def talk(talk: Talk) -> None:
        await talk.until_hung_up()

    standin.scripts.append(talk)
    result = known("chat", "hi")
    assert result.status == 1
    assert "No gateway answers" in result.err


def test_the_first_ctrl_c_cancels_the_run_on_the_server(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        thread_id, run_id = ids(await talk.begin())
        cancelled = talk.told(f"POST /api/runs/{run_id}/cancel")
        stopped = {"runId": run_id, "threadId": thread_id, "status": "running"}
        standin.answers[f"POST /api/runs/{run_id}/cancel"] = (202, stopped)
        await talk.event(thread_id, "1-1", started(thread_id, run_id))
        await talk.event(thread_id, "1-2", text("half"))
        os.kill(os.getpid(), signal.SIGINT)
        await cancelled
        await talk.event(thread_id, "1-3", finished(thread_id, run_id, "cancelled"))

    standin.scripts.append(talk)
    result = known("chat", "hi")
    assert result.status == 130
    assert result.out.startswith("half")
    assert "stopped" in result.err


def test_the_second_ctrl_c_leaves_at_once(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        thread_id, run_id = ids(await talk.begin())
        cancelled = talk.told(f"POST /api/runs/{run_id}/cancel")
        await talk.event(thread_id, "1-1", started(thread_id, run_id))
        os.kill(os.getpid(), signal.SIGINT)
        await cancelled
        os.kill(os.getpid(), signal.SIGINT)
        await talk.until_hung_up()

    standin.scripts.append(talk)
    result = known("chat", "hi")
    assert result.status == 130
    assert "baton runs tail run_" in result.err


def test_leaving_does_not_wait_for_a_gateway_that_hangs(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        thread_id, run_id = ids(await talk.begin())
        cancel = f"POST /api/runs/{run_id}/cancel"
        standin.hanging.add(cancel)
        cancelled = talk.told(cancel)
        await talk.event(thread_id, "1-1", started(thread_id, run_id))
        os.kill(os.getpid(), signal.SIGINT)
        await cancelled
        os.kill(os.getpid(), signal.SIGINT)
        await talk.until_hung_up()

    standin.scripts.append(talk)
    began = time.monotonic()
    assert known("chat", "hi").status == 130
    assert time.monotonic() - began < client.TIMEOUT_S / 2


def test_a_queued_run_says_so_and_can_be_stopped_before_it_begins(
    known: Baton, standin: StandIn
) -> None:
    async def talk(talk: Talk) -> None:
        await talk.welcome()
        frame = await talk.hear()
        thread_id, run_id = ids(frame)
        cancelled = talk.told(f"POST /api/runs/{run_id}/cancel")
        stopped = {"runId": run_id, "threadId": thread_id, "status": "cancelled"}
        standin.answers[f"POST /api/runs/{run_id}/cancel"] = (202, stopped)
        standin.answers[f"GET /api/runs/{run_id}"] = (200, run(run_id, "cancelled"))
        standin.answers[f"GET /api/runs/{run_id}/events"] = (200, page())
        await talk.say("ack", id=frame["id"], runId=run_id, queued=True)
        os.kill(os.getpid(), signal.SIGINT)
        await cancelled
        await talk.say("changed", what="queue", threadId=thread_id)
        await talk.until_hung_up()

    standin.scripts.append(talk)
    result = known("chat", "hi")
    assert result.status == 130
    assert "waits for another run" in result.err


def test_a_store_that_is_away_refuses_a_new_run_in_words(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        await talk.welcome()
        frame = await talk.hear()
        error = {"code": "unavailable", "message": "Postgres is away.", "retryable": True}
        await talk.say("error", id=frame["id"], **error)

    standin.scripts.append(talk)
    result = known("chat", "hi")
    assert result.status == 1
    assert "Postgres is away." in result.err


def test_a_store_that_is_away_only_delays_a_run_that_is_accepted(
    known: Baton, standin: StandIn
) -> None:
    async def first(talk: Talk) -> None:
        await talk.begin()
        await talk.close(Close.RESTARTING)

    async def second(talk: Talk) -> None:
        await talk.welcome()
        frame = await talk.hear()
        error = {"code": "unavailable", "message": "Postgres is away.", "retryable": True}
        await talk.say("error", id=frame["id"], **error)
        await talk.until_hung_up()

    async def third(talk: Talk) -> None:
        await talk.begin()
        await answer(talk, standin.frames[0], "still there")

    standin.scripts += [first, second, third]
    assert known("chat", "hi").out == "still there\n"
