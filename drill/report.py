"""The result: what is counted, measured and judged, as tables for the terminal and for programs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from drill.measures import Measures, kills, waited
from drill.plan import DrillPlan, FaultKind
from drill.records import Hit, Watched
from drill.verdict import Violation, Wrong

TAKE_OVER_GOAL_S = 5.0
ANSWER_GOAL_S = 3.0
RECOVERY_GOAL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A drill that is over."""

    plan: DrillPlan
    minutes: float
    began: float
    took_s: float
    cut_short: bool
    watched: Sequence[Watched]
    statuses: Counter[str]  #: of runs, in SQL
    claims: Counter[int]  #: how many runs were claimed so often
    calls: int  #: of the model
    effects: int  #: in the ledger outside
    lost_together: int  #: events shown and gone, because runner and Redis were lost at once
    hits: Sequence[Hit]
    own_deaths: Sequence[str]  #: deaths of processes that no fault explains, in the stack's words
    violations: Sequence[Violation]
    measures: Measures

    @property
    def passed(self) -> bool:
        """Whether nothing happened that must not."""
        return not self.violations


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the score: its value with the unit, and whether it is as it must be, if it must."""

    name: str
    value: str
    goal: str = ""
    fine: bool | None = None


def score(result: Result) -> list[Line]:
    """All lines, in the order of a reader's questions."""
    return [*counts(result), *durations(result), *verdicts(result)]


def verdicts(result: Result) -> Iterator[Line]:
    """How often something happened that must not."""
    found = Counter(one.kind for one in result.violations)
    for kind in Wrong:
        yield Line(name=kind, value=str(found[kind]), goal="0", fine=not found[kind])


def table(result: Result) -> Table:
    """The score for the terminal."""
    made = _empty("drill")
    for line in score(result):
        style = "" if line.fine is None else "green" if line.fine else "red"
        made.add_row(line.name, Text(line.value, style))
    return made


def document(result: Result) -> dict[str, Any]:
    """The score for programs."""
    return {
        "seed": result.plan.seed,
        "passed": result.passed,
        "cutShort": result.cut_short,
        "score": {line.name: line.value for line in score(result)},
        "violations": [_violation(one) for one in result.violations],
    }


#: What naive workers are judged by; the other rules need SQL.
NAIVE = (Wrong.LOST, Wrong.TERMINALS, Wrong.TEXT, Wrong.CALLS, Wrong.EFFECTS, Wrong.UNDONE)


def naive_table(runs: int, kills: int, violations: Sequence[Violation]) -> Table:
    """In how many of the runs of naive workers something is wrong."""
    made = _empty("drill of naive workers")
    for name, value in _naive_score(runs, kills, violations):
        made.add_row(name, str(value))
    return made


def naive_document(
    seed: int, runs: int, kills: int, violations: Sequence[Violation]
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "seed": seed,
        "passed": not violations,
        "score": {name: str(value) for name, value in _naive_score(runs, kills, violations)},
        "violations": [_violation(one) for one in violations],
    }


def _naive_score(
    runs: int, kills: int, violations: Sequence[Violation]
) -> Iterator[tuple[str, int]]:
    yield "runs asked for", runs
    yield "kills (kill -9)", kills
    for kind in NAIVE:
        yield f"runs with: {kind}", len({one.where for one in violations if one.kind is kind})


def _empty(title: str) -> Table:
    made = Table(title=title, show_header=False, title_justify="left")
    made.add_column(style="dim")
    made.add_column(justify="right")
    return made


def _violation(one: Violation) -> dict[str, Any]:
    return {"kind": one.kind, "where": one.where, "what": one.what, "at": one.at}


def counts(result: Result) -> Iterator[Line]:
    """How much was done."""
    asked = sum(len(one.asks) for one in result.watched)
    by_poison = sum(hit.kind is FaultKind.POISON for hit in result.hits)
    planned = sum(not hit.missed for hit in result.hits) - by_poison
    found = {
        "runs asked for": asked,
        "runs accepted": sum(len(one.accepted) for one in result.watched),
        "events seen by clients": sum(len(one.frames) for one in result.watched),
        "model calls": result.calls,
        "effects in the ledger outside": result.effects,
        "faults": planned,
        "kills (kill -9)": kills(result.hits),
        "processes ended by poisonous runs": by_poison,
        "deaths of other causes": len(result.own_deaths),
        "events shown and gone with runner and Redis at once (not promised)": result.lost_together,
    }
    for name, count in found.items():
        yield Line(name=name, value=f"{count:,}")


def durations(result: Result) -> Iterator[Line]:
    """How long people waited, in seconds."""
    measures = result.measures
    taken, alone = measures.take_overs, measures.undisturbed
    shares = "runs): p50 / p95 / max"
    yield Line(
        name=f"take-over, nothing else broken meanwhile ({len(alone.values)} {shares}",
        value=f"{_s(alone.at(0.5))} / {_s(alone.at(0.95))} / {_s(alone.longest)}",
        goal=f"p95 ≤ {TAKE_OVER_GOAL_S:g} s",
        fine=_within(alone.at(0.95), TAKE_OVER_GOAL_S),
    )
    yield Line(
        name=f"take-over, all ({len(taken.values)} {shares}",
        value=f"{_s(taken.at(0.5))} / {_s(taken.at(0.95))} / {_s(taken.longest)}",
    )
    longest = measures.longest_request
    yield Line(
        name="longest unanswered request",
        value=f"{_s(waited(longest))} ({longest.op})" if longest else "-",
        goal=f"≤ {ANSWER_GOAL_S:g} s",
        fine=_within(waited(longest), ANSWER_GOAL_S) if longest else None,
    )
    back = measures.recoveries
    yield Line(
        name=f"store killed → service whole ({len(back.values)} times): p50 / max",
        value=f"{_s(back.at(0.5))} / {_s(back.longest)}",
        goal=f"max ≤ {RECOVERY_GOAL_S:g} s",
        fine=_within(back.longest, RECOVERY_GOAL_S),
    )
    yield Line(name="last fault → last run's end", value=_s(measures.calm_s))
    ended = measures.ended
    yield Line(
        name="accepted → end, with waiting: p50 / max",
        value=f"{_s(ended.at(0.5))} / {_s(ended.longest)}",
    )


def _within(value: float | None, goal: float) -> bool | None:
    return None if value is None else value <= goal


def _s(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
