import pytest

from shared.protocol.codes import Code
from tests.agent.conftest import Baton
from tests.agent.standin import StandIn, Talk, finished, page, refusal, run, started, text

THREAD, RUN = "thr_1", "run_1"


def placed(id_: str, event: object) -> dict[str, object]:
    return {"id": id_, "event": event}


STORED = [
    placed("1-1", started(THREAD, RUN)),
    placed("1-4", text("Hello")),
    placed("1-5", finished(THREAD, RUN)),
]


def test_runs_are_listed(known: Baton, standin: StandIn) -> None:
    failed = run("run_2", "failed") | {"error": {"code": "upstream_auth", "message": "No."}}
    standin.answers["GET /api/runs"] = (200, page(run(RUN, "finished"), failed))
    result = known("runs", "--status", "failed", "--thread", THREAD)
    assert "upstream_auth" in result.out
    assert "3.3 s" in result.out
    assert standin.asked[-1].query == {"status": "failed", "threadId": THREAD, "limit": "20"}


def test_a_run_is_shown(known: Baton, standin: StandIn) -> None:
    error = {"code": "max_turns", "message": "Too many turns."}
    standin.answers[f"GET /api/runs/{RUN}"] = (200, run(RUN, "failed") | {"error": error})
    result = known("runs", "show", RUN)
    assert "Too many turns. (max_turns)" in result.out
    assert "demo: 1,200 tokens in, 34 out" in result.out
    assert known("runs", "show", RUN, "--json").json["error"] == error


def test_runs_that_go_on_with_each_other_name_each_other(known: Baton, standin: StandIn) -> None:
    names = {"parentRunId": "run_0", "resumedBy": "run_2", "deaths": 1}
    standin.answers[f"GET /api/runs/{RUN}"] = (200, run(RUN, "failed") | names)
    standin.answers["GET /api/runs"] = (
        200,
        page(run(RUN, "failed") | names, run("run_2", "failed")),
    )
    assert known("runs", "list").out.count("failed (went on)") == 1
    shown = known("runs", "show", RUN).out
    for name, value in (("resumes", "run_0"), ("goes on as", "run_2"), ("deaths", "1 process ")):
        assert any(line.split(name)[-1].strip().startswith(value) for line in shown.splitlines())


def test_a_resumed_run_shows_which_tool_gave_what(known: Baton, standin: StandIn) -> None:
    call = {"type": "TOOL_CALL_START", "toolCallId": "call_1", "toolCallName": "pay"}
    given = {"type": "TOOL_CALL_RESULT", "toolCallId": "call_1", "content": "paid 5"}
    standin.answers["GET /api/runs/run_0"] = (200, run("run_0", "failed"))
    standin.answers["GET /api/runs/run_0/events"] = (200, page(placed("1-2", call)))
    resumed = run(RUN, "finished") | {"parentRunId": "run_0"}
    standin.answers[f"GET /api/runs/{RUN}"] = (200, resumed)
    events = [STORED[0], placed("1-2", given), *STORED[1:]]
    standin.answers[f"GET /api/runs/{RUN}/events"] = (200, page(*events))
    assert "✓ pay paid 5" in known("runs", "tail", RUN).err


def test_an_unknown_run_is_told_by_every_command(known: Baton) -> None:
    for command in ("show", "tail", "cancel"):
        result = known("runs", command, "run_9")
        assert result.status == 1
        assert "nothing by this id" in result.err


@pytest.mark.parametrize(
    ("status", "words"),
    [("running", "is being stopped"), ("finished", "had ended already: finished")],
)
def test_a_run_is_asked_to_stop(known: Baton, standin: StandIn, status: str, words: str) -> None:
    stopped = {"runId": RUN, "threadId": THREAD, "status": status}
    standin.answers[f"POST /api/runs/{RUN}/cancel"] = (202, stopped)
    assert words in known("runs", "cancel", RUN).out


def test_a_run_that_has_ended_is_told_from_what_is_stored(known: Baton, standin: StandIn) -> None:
    standin.answers[f"GET /api/runs/{RUN}"] = (200, run(RUN, "finished"))
    standin.answers[f"GET /api/runs/{RUN}/events"] = (200, page(*STORED))
    assert known("runs", "tail", RUN).out == "Hello\n"
    result = known("runs", "tail", RUN, "--json")
    assert (result.status, result.lines) == (0, STORED)


def test_pages_of_events_are_put_together(known: Baton, standin: StandIn) -> None:
    standin.answers[f"GET /api/runs/{RUN}"] = (200, run(RUN, "finished"))
    standin.answers[f"GET /api/runs/{RUN}/events"] = lambda asked: (
        (200, page(*STORED[1:]))
        if asked.query.get("after") == "1-1"
        else (200, page(STORED[0], following="1-1"))
    )
    assert known("runs", "tail", RUN, "--json").lines == STORED


def test_a_live_run_goes_on_where_the_stored_events_end(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        frame = await talk.begin()
        assert (frame["op"], frame["after"]) == ("subscribe", "1-4")
        await talk.event(THREAD, "1-4", text("Hello"))
        await talk.event(THREAD, "1-5", text(" world"))
        await talk.event(THREAD, "1-6", finished(THREAD, RUN))

    standin.answers[f"GET /api/runs/{RUN}"] = (200, run(RUN, "running"))
    standin.answers[f"GET /api/runs/{RUN}/events"] = (200, page(*STORED[:2]))
    standin.scripts.append(talk)
    assert known("runs", "tail", RUN).out == "Hello world\n"


def test_a_tail_begins_behind_a_cursor(known: Baton, standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        frame = await talk.begin()
        assert frame["after"] == "1-4"
        await talk.say("live", threadId=THREAD, cursor="1-4")
        await talk.event(THREAD, "1-5", finished(THREAD, RUN, "cancelled"))

    standin.answers[f"GET /api/runs/{RUN}"] = (200, run(RUN, "running"))
    standin.answers[f"GET /api/runs/{RUN}/events"] = lambda asked: (
        (200, page()) if "after" in asked.query else (200, page(STORED[0], following="1-1"))
    )
    standin.scripts.append(talk)
    result = known("runs", "tail", RUN, "--after", "1-4", "--json")
    assert result.status == 1
    assert [line["id"] for line in result.lines] == ["1-5"]


def test_a_run_that_was_cancelled_before_it_began_ends_the_tail(
    known: Baton, standin: StandIn
) -> None:
    async def talk(talk: Talk) -> None:
        await talk.begin()
        await talk.say("reset", threadId=THREAD, cursor="0-0", messages=[], more=False, run=None)
        standin.answers[f"GET /api/runs/{RUN}"] = (200, run(RUN, "cancelled"))
        await talk.say("live", threadId=THREAD, cursor="0-0")

    standin.answers[f"GET /api/runs/{RUN}"] = (200, run(RUN, "queued"))
    standin.answers[f"GET /api/runs/{RUN}/events"] = (200, page())
    standin.scripts.append(talk)
    result = known("runs", "tail", RUN)
    assert result.status == 1
    assert "cancelled before it began" in result.err


def test_a_cursor_of_the_future_is_refused(known: Baton, standin: StandIn) -> None:
    standin.answers[f"GET /api/runs/{RUN}"] = (200, run(RUN, "running"))
    standin.answers[f"GET /api/runs/{RUN}/events"] = refusal(Code.BAD_CURSOR)
    result = known("runs", "tail", RUN, "--after", "99-1")
    assert result.status == 1
    assert "cursor" in result.err


def test_poisoned_runs_are_listed_and_tried_again(known: Baton, standin: StandIn) -> None:
    death = {"status": "SIGSEGV", "lines": ["before", "Fatal Python error"]}
    poisoned = {
        "id": RUN,
        "email": "ada@example.com",
        "threadId": THREAD,
        "agent": "Assistant",
        "reason": "It died.",
        "endedAt": "2026-11-21T12:00:00Z",
        "death": death,
        "requeuedBy": None,
    }
    unseen = poisoned | {"id": "run_2", "death": None}
    standin.answers["GET /api/poisoned"] = (200, page(poisoned, unseen))
    shown = known("runs", "poisoned").out
    assert "SIGSEGV" in shown
    assert "Fatal Python error" in shown
    made = {"runId": "run_3", "threadId": THREAD, "status": "queued", "queued": False}
    standin.answers[f"POST /api/runs/{RUN}/requeue"] = (202, made)
    assert "run_3" in known("runs", "requeue", RUN, "--user", "ada@example.com").out
    assert standin.asked[-1].query == {"user": "ada@example.com"}
    assert "newest code" in known("runs", "requeue", RUN).out
    assert "the code it had" in known("runs", "requeue", RUN, "--old-code").out
    assert standin.asked[-1].query == {"oldCode": "true"}
    assert known("runs", "requeue", RUN, "--json").json == made
