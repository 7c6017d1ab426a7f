"""`approve`, `reject`, and being asked in a conversation."""

from typing import Any

import pytest

from shared.protocol.codes import Code
from tests.agent.conftest import Baton
from tests.agent.standin import (
    SOME_TIME,
    Asked,
    StandIn,
    Talk,
    finished,
    ids,
    page,
    refusal,
    run,
    started,
    text,
)

PATH = "/api/runs/run_1/approvals"


def approval(id_: str, status: str = "open", **more: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "status": status,
        "reason": "tool_call",
        "tool": "send",
        "callId": f"call_{id_}",
        "agent": "Mailer",
        "arguments": {"to": id_},
        "message": None,
        "decidedBy": None,
        "decidedAt": None,
        "createdAt": SOME_TIME,
    } | more


class Run:
    """A run that asks, as the gateway has it."""

    def __init__(self, standin: StandIn, path: str = PATH, *asked: dict[str, Any]) -> None:
        self.asked = {one["id"]: one for one in asked}
        standin.answers[f"GET {path}"] = lambda _: (200, self.shown())
        standin.answers[f"POST {path}"] = self.decide

    def shown(self) -> dict[str, Any]:
        still = any(one["status"] == "open" for one in self.asked.values())
        found = list(self.asked.values())
        return {
            "runId": "run_1",
            "threadId": "thr_1",
            "resumedBy": None if still else "run_2",
            "data": found,
        }

    def decide(self, asked: Asked) -> tuple[int, Any]:
        for one in asked.body["decisions"]:
            status = "approved" if one["approved"] else "rejected"
            self.asked[one["id"]] |= {"status": status, "message": one.get("message")}
        return 200, self.shown()


def sent(standin: StandIn) -> list[list[dict[str, Any]]]:
    return [one.body["decisions"] for one in standin.asked if one.method == "POST"]


def test_all_that_is_open_is_approved(known: Baton, standin: StandIn) -> None:
    Run(standin, PATH, approval("a"), approval("b"), approval("c", "rejected"))
    shown = known("approve", "run_1")
    assert (shown.status, shown.out) == (0, "run_1 goes on as run_2.\n")
    both = [{"id": one, "approved": True} for one in ("a", "b")]
    assert sent(standin) == [both]


@pytest.mark.parametrize("name", ["b", "call_b"])
def test_one_call_is_rejected_and_the_rest_is_told(
    known: Baton, standin: StandIn, name: str
) -> None:
    Run(standin, PATH, approval("a"), approval("b"))
    shown = known("reject", "run_1", name, "--message", "Bob is away.")
    assert sent(standin) == [[{"id": "b", "approved": False, "message": "Bob is away."}]]
    assert "still asks about 1 call" in shown.out
    assert 'a  send to="a"' in shown.out


def test_a_program_gets_all_of_it(known: Baton, standin: StandIn) -> None:
    Run(standin, PATH, approval("a"))
    assert known("approve", "run_1", "--json").json["resumedBy"] == "run_2"


@pytest.mark.parametrize("arguments", [("run_1",), ("run_1", "nothing")])
def test_there_has_to_be_a_question(
    known: Baton, standin: StandIn, arguments: tuple[str, ...]
) -> None:
    Run(standin, PATH, approval("a", "approved"))
    shown = known("approve", *arguments)
    assert shown.status == 1
    assert "asks nothing" in shown.err
    assert sent(standin) == []


def test_another_decision_is_a_conflict(known: Baton, standin: StandIn) -> None:
    Run(standin, PATH, approval("a", "approved"))
    standin.answers[f"POST {PATH}"] = refusal(Code.CONFLICT, "bob@example.com has decided.")
    shown = known("reject", "run_1", "a")
    assert shown.status == 1
    assert "bob@example.com has decided." in shown.err


def asking_chat(standin: StandIn, *asked: dict[str, Any]) -> None:
    """A chat whose run asks, and the run that goes on after it."""

    async def asks(talk: Talk) -> None:
        thread_id, run_id = ids(await talk.begin())
        Run(standin, f"/api/runs/{run_id}/approvals", *asked)
        await talk.event(thread_id, "1-1", started(thread_id, run_id))
        await talk.event(thread_id, "1-2", finished(thread_id, run_id, "interrupt"))

    async def goes_on(talk: Talk) -> None:
        await talk.begin()
        await talk.event("thr_1", "2-2", text("sent"))
        await talk.event("thr_1", "2-3", finished("thr_1", "run_2"))

    standin.scripts += [asks, goes_on]
    standin.answers["GET /api/runs/run_2"] = (200, run("run_2", "running"))
    first = {"id": "2-1", "event": started("thr_1", "run_2")}
    standin.answers["GET /api/runs/run_2/events"] = (200, page(first))


def test_who_sits_at_the_terminal_is_asked_and_sees_the_rest(
    known: Baton, standin: StandIn
) -> None:
    asking_chat(standin, approval("a"), approval("b"))
    shown = known("chat", "hi", typed="what?\ny\nn Bob is away.\n")
    assert (shown.status, shown.err.count("? send")) == (0, 2)
    assert shown.out.endswith("sent\n")
    assert sent(standin) == [
        [{"id": "a", "approved": True}],
        [{"id": "b", "approved": False, "message": "Bob is away."}],
    ]


def test_who_leaves_leaves_it_open(known: Baton, standin: StandIn) -> None:
    asking_chat(standin, approval("a"))
    standin.scripts.pop()
    shown = known("chat", "hi", typed="")
    assert shown.status == 3
    assert "decide: baton approve run_" in shown.err
    assert sent(standin) == []


def test_nobody_is_asked_where_nobody_sits(known: Baton, standin: StandIn) -> None:
    asking_chat(standin, approval("a"))
    standin.scripts.pop()
    shown = known("chat", "hi")
    assert shown.status == 3
    assert "decide: baton approve run_" in shown.err
    assert sent(standin) == []


@pytest.mark.parametrize(
    ("status", "told"), [("open", True), ("approved", False), ("superseded", False)]
)
def test_a_run_shows_what_it_asks(known: Baton, standin: StandIn, status: str, told: bool) -> None:
    standin.answers["GET /api/runs/run_1"] = (200, run("run_1", "interrupted"))
    end = {"id": "1-2", "event": finished("thr_1", "run_1", "interrupt")}
    standin.answers["GET /api/runs/run_1/events"] = (200, page(end))
    Run(standin, PATH, approval("a", status))
    shown, watched = known("runs", "show", "run_1"), known("runs", "tail", "run_1")
    assert (shown.status, watched.status) == (0, 3)
    assert ('a  send to="a"' in shown.out) is told
    for one in (shown, watched):
        assert ("decide: baton approve run_1, or reject" in one.err) is told
