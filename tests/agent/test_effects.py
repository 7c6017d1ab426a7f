"""`effects`: what tools did, and saying what became of a call."""

from typing import Any

import pytest

from shared.protocol.codes import Code
from tests.agent.conftest import Baton
from tests.agent.standin import SOME_TIME, StandIn, me, page, refusal

KEY = "6f1d0c52a9be" + "0" * 52
OTHER = "6f1d0c52a9be" + "1" * 52
SETTLED = {"outcome": "done", "by": "ada@example.com", "at": SOME_TIME}


def effect(key: str = KEY, status: str = "unknown", **more: Any) -> dict[str, Any]:
    return {
        "key": key,
        "status": status,
        "tool": "pay",
        "arguments": {"euros": 7},
        "callId": "call_1",
        "scope": "",
        "runId": "run_1",
        "threadId": "thr_1",
        "email": "ada@example.com",
        "executor": "toolsvc-1/x",
        "executorUntil": SOME_TIME,
        "createdAt": SOME_TIME,
        "doneAt": None,
        "error": None,
        "settled": None,
        "resumedBy": None,
    } | more


@pytest.fixture(autouse=True)
def _admin(standin: StandIn) -> None:
    standin.answers["GET /api/me"] = (200, me("ada@example.com", admin=True))
    standin.answers["GET /api/effects"] = (200, page(effect()))
    standin.answers[f"POST /api/effects/{KEY}/settle"] = (
        200,
        effect(status="done", settled=SETTLED),
    )


def test_effects_are_listed_with_what_helps_to_find_out(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/effects"] = (
        200,
        page(effect(), effect(OTHER, "done", arguments=None, settled=SETTLED)),
    )
    shown = known("effects", "--unknown")
    for word in ("6f1d0c52a9be", "unknown", "pay", "euros", "run_1", "done by ada@example.com"):
        assert word in shown.out
    assert standin.asked[-1].query["status"] == "unknown"
    assert known("effects", "list", "--json").json["data"][0]["key"] == KEY
    assert "status" not in standin.asked[-1].query


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (("--done", '{"paid": true}'), {"outcome": "done", "result": {"paid": True}}),
        (("--done", "null"), {"outcome": "done", "result": None}),
        (("--failed", "No."), {"outcome": "failed", "message": "No."}),
        (
            ("--failed", "No.", "--code", "no_money"),
            {"outcome": "failed", "message": "No.", "code": "no_money"},
        ),
        (("--retry",), {"outcome": "retry"}),
        (("--retry", "--no-resume"), {"outcome": "retry", "resume": False}),
    ],
)
@pytest.mark.parametrize("key", [KEY, KEY[:12], KEY[:20]])
def test_a_call_is_settled_by_its_key_or_how_that_begins(
    known: Baton, standin: StandIn, key: str, options: tuple[str, ...], body: Any
) -> None:
    result = known("effects", "settle", key, *options)
    assert result.status == 0
    assert "done by ada@example.com" in result.out
    assert standin.asked[-1].body == body


def test_as_json_the_settled_call_comes_whole(known: Baton) -> None:
    assert known("effects", "settle", KEY, "--retry", "--json").json["settled"] == SETTLED


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((KEY,), "What became of it?"),
        ((KEY, "--retry", "--done", "1"), "What became of it?"),
        ((KEY, "--done", "sent"), "--done"),
        ((KEY, "--done", "1", "--code", "x"), "--code belongs to --failed"),
        (("6f1d", "--retry"), "at least the first 12"),
        (("paid-the-bill", "--retry"), "names no effect"),
    ],
)
def test_a_verdict_that_is_none_is_not_sent(
    known: Baton, standin: StandIn, arguments: tuple[str, ...], words: str
) -> None:
    result = known("effects", "settle", *arguments)
    assert result.status == 2
    assert words in result.err
    assert not any(path.startswith("POST /api/effects") for path in standin.paths())


def test_a_key_that_is_not_one_call_settles_nothing(known: Baton, standin: StandIn) -> None:
    lost = known("effects", "settle", "a" * 12, "--retry").err
    assert "such a key" in lost
    assert "`baton effects` lists" in lost
    assert standin.asked[-1].query["key"] == "a" * 12
    assert "status" not in standin.asked[-1].query  # the same verdict may be given again
    standin.answers["GET /api/effects"] = (200, page(effect(), effect(OTHER)))
    assert "Several begin so" in known("effects", "settle", KEY[:12], "--retry").err
    assert not any(path.startswith("POST /api/effects") for path in standin.paths())


def test_another_verdict_is_told_as_the_gateway_says(known: Baton, standin: StandIn) -> None:
    standin.answers[f"POST /api/effects/{KEY}/settle"] = refusal(Code.CONFLICT, "It ended: done.")
    result = known("effects", "settle", KEY, "--retry")
    assert result.status == 1
    assert "It ended: done." in result.err
