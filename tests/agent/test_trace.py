from typing import Any

from tests.agent.conftest import Baton
from tests.agent.standin import StandIn, run


def span(
    id_: str, data: dict[str, Any], begin: str, end: str | None, *below: Any
) -> dict[str, Any]:
    return {
        "id": id_,
        "type": data["type"],
        "name": data.get("name"),
        "startedAt": f"2026-01-02T03:04:{begin}Z",
        "endedAt": None if end is None else f"2026-01-02T03:04:{end}Z",
        "data": data,
        "error": None,
        "children": list(below),
    }


USAGE = {"input_tokens": 1200, "output_tokens": 34}
TURN = {"type": "custom", "name": "turn", "data": {"sdk_span_type": "turn", "turn": 1}}
MODEL = {"type": "generation", "model": "demo", "usage": USAGE}
TOOL = {"type": "function", "name": "save_note", "input": '{"text":"plants"}'}
HANDOFF = {"type": "handoff", "from_agent": "Assistant", "to_agent": "Researcher"}
GUARDRAIL = {"type": "guardrail", "name": "polite", "triggered": False}


def tree() -> dict[str, Any]:
    turn = span(
        "s2",
        TURN,
        "05.000",
        "07.500",
        span("s3", MODEL, "05.000", "06.000"),
        span("s4", TOOL, "06.000", "06.012"),
        span("s5", HANDOFF, "06.100", "06.100"),
        span("s6", GUARDRAIL, "06.200", None),
    )
    root = span("s1", {"type": "agent", "name": "Assistant"}, "05.000", "08.000", turn)
    return {"traceId": "trace_1", "runId": "run_1", "spans": [root], "truncated": False}


def test_a_trace_is_a_tree_with_durations(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/runs/run_1/trace"] = (200, tree())
    standin.answers["GET /api/runs/run_1"] = (200, run("run_1", "finished"))
    lines = [line.split("━")[0].rstrip() for line in known("trace", "run_1").out.splitlines()]
    assert lines[0] == "trace_1  finished  3.3 s"
    assert [line.rsplit("  ", 1)[0].rstrip() for line in lines[1:]] == [
        "└─ agent Assistant",
        "   └─ turn 1",
        "      ├─ model demo  1,200 → 34 tokens",
        '      ├─ tool save_note  text="plants"',
        "      ├─ handoff Assistant → Researcher",
        "      └─ guardrail polite  passed",
    ]
    took = [line.rsplit("  ", 1)[1].strip() for line in lines[1:]]
    assert took == ["3.0 s", "2.5 s", "1.0 s", "12 ms", "0 ms", "open"]


def test_a_failed_span_says_why(known: Baton, standin: StandIn) -> None:
    found = tree()
    found["spans"][0]["error"] = {"message": "failed", "data": {"error": "HTTP 401"}}
    standin.answers["GET /api/runs/run_1/trace"] = (200, found)
    standin.answers["GET /api/runs/run_1"] = (200, run("run_1", "failed"))
    assert "✗ HTTP 401" in known("trace", "run_1").out


def test_the_tree_goes_on_beside_an_error(known: Baton, standin: StandIn) -> None:
    found = tree()
    tool, turn = found["spans"][0]["children"][0]["children"][1], found["spans"][0]["children"][0]
    tool["error"] = turn["error"] = {"message": "cut off"}
    standin.answers["GET /api/runs/run_1/trace"] = (200, found)
    standin.answers["GET /api/runs/run_1"] = (200, run("run_1", "failed"))
    lines = [line.rstrip() for line in known("trace", "run_1").out.splitlines()]
    assert [line for line in lines if "✗" in line] == ["      │  ✗ cut off", "      │  ✗ cut off"]


def test_a_trace_says_what_it_cannot_show(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/runs/run_1/trace"] = (200, tree())
    standin.answers["GET /api/runs/run_1"] = (200, run("run_1", "failed") | {"deaths": 4})
    assert "4 processes ended with it since its last" in known("trace", "run_1").err


def test_odd_spans_are_shown_all_the_same(known: Baton, standin: StandIn) -> None:
    odd: dict[str, Any] = {
        **span("s1", {"type": "custom", "data": 7}, "05.000", None),
        "type": None,
        "startedAt": "long ago",
        "error": {"message": None, "data": None},
    }
    found = {"traceId": "trace_1", "runId": "run_1", "spans": [odd], "truncated": True}
    standin.answers["GET /api/runs/run_1/trace"] = (200, found)
    standin.answers["GET /api/runs/run_1"] = (200, run("run_1", "running"))
    result = known("trace", "run_1")
    assert result.status == 0
    assert "more spans than are shown" in result.err


def test_a_run_without_spans_says_so(known: Baton, standin: StandIn) -> None:
    found = {"traceId": "trace_1", "runId": "run_1", "spans": [], "truncated": False}
    standin.answers["GET /api/runs/run_1/trace"] = (200, found)
    standin.answers["GET /api/runs/run_1"] = (200, run("run_1", "queued"))
    result = known("trace", "run_1")
    assert "No spans yet." in result.err
    assert known("trace", "run_1", "--json").json == found


def test_an_unknown_run_is_told(known: Baton) -> None:
    assert known("trace", "run_9").status == 1
