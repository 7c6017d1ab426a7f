"""The report tells what was done, what was judged and how long it took, with units."""

from collections import Counter
from dataclasses import replace

from drill.measures import Measures, Times
from drill.page import page
from drill.plan import FaultKind, make_plan
from drill.records import Request
from drill.report import Result
from drill.verdict import Violation, Wrong
from tests.drill.scene import TWO, Scene, hit

NOTHING = Times(values=())
RESULT = Result(
    plan=make_plan(seed=5, minutes=1, runs=20),
    minutes=1.0,
    began=0.0,
    took_s=90.0,
    cut_short=False,
    watched=[Scene().watched()],
    statuses=Counter({"finished": 19, "failed (poisoned)": 1}),
    claims=Counter({1: 18, 3: 2}),
    calls=1234,
    effects=5,
    lost_together=0,
    hits=[hit(FaultKind.KILL_RUNNER, at=3.0), hit(FaultKind.POISON, at=4.0)],
    own_deaths=["postgres ended with exit status 1"],
    violations=[],
    measures=Measures(
        take_overs=Times(values=(3.5, 7.25)),
        undisturbed=Times(values=(3.5,)),
        longest_request=Request(op="run", run=TWO, asked_at=1.0, over_at=5.5),
        recoveries=NOTHING,
        calm_s=2.0,
        ended=Times(values=(4.0,)),
    ),
)


def test_what_was_done_is_counted() -> None:
    told = page(RESULT, "drill-5.ndjson")
    assert told.startswith("# Drill\n\n**Passed**, 1970-01-01 00:00 UTC:")
    assert "`baton drill --minutes 1 --runs 20 --seed 5`" in told
    for row in (
        *("| model calls | 1,234 |", "| faults | 1 |", "| kills (kill -9) | 1 |"),
        *("| processes ended by poisonous runs | 1 |", "| kill runner | 1 | 0 |"),
        *("| failed (poisoned) | 1 |", "| 3 times | 2 |", "| lost runs | 0 |"),
    ):
        assert f"\n{row}\n" in told
    assert "- postgres ended with exit status 1" in told


def test_durations_have_units_and_stand_beside_their_goals() -> None:
    told = page(RESULT, "drill-5.ndjson")
    for row in (
        (
            "| take-over, nothing else broken meanwhile (1 runs): p50 / p95 / max"
            " | 3.50 s / 3.50 s / 3.50 s | p95 ≤ 5 s |"
        ),
        "| take-over, all (2 runs): p50 / p95 / max | 7.25 s / 7.25 s / 7.25 s |  |",
        "| longest unanswered request | 4.50 s (run) ✗ | ≤ 3 s |",
    ):
        assert f"\n{row}\n" in told


def test_violations_are_marked_and_spelt_out() -> None:
    found = [Violation(kind=Wrong.LOST, where=TWO, what=f"{n}", at=1.0) for n in range(12)]
    told = page(replace(RESULT, violations=found, cut_short=True), "drill-5.ndjson")
    assert "**FAILED, ended early**" in told
    assert "\n| lost runs | 12 ✗ |\n" in told
    assert f"- lost runs: {TWO}: 9 (at 1.00 s)\n- lost runs: 2 more\n" in told
