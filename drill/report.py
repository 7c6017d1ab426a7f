"""The result, as a table for the terminal and as a page of Markdown."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from drill.measures import Measures, kills, waited
from drill.plan import DrillPlan, FaultKind
from drill.records import Hit, Watched
from drill.verdict import Violation, Wrong

#: How many violations of a kind are spelt out.
SPELT_OUT = 10

_WHAT_IT_IS = """\
A stack of its own (3 runners, 2 gateways, 2 toolsvcs, Valkey and Postgres with durable settings,
the demo model) was broken on purpose while clients conversed with it. The numbers come from
outside: from what clients were sent, from the model server's log, from a file that a tool appends
to, and from SQL. The seed fixes what is said and what breaks when; how the processes' timing falls
varies from run to run."""

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


def score(result: Result) -> list[tuple[str, str, bool | None]]:
    """Name, value, and whether it is as it must be (`None`: it is only told)."""
    found = Counter(one.kind for one in result.violations)
    return [*_numbers(result), *((kind, str(found[kind]), not found[kind]) for kind in Wrong)]


def table(result: Result) -> Table:
    """The score for the terminal."""
    made = _empty("drill")
    for name, value, fine in score(result):
        style = "" if fine is None else "green" if fine else "red"
        made.add_row(name, Text(value, style))
    return made


def document(result: Result) -> dict[str, Any]:
    """The score for programs."""
    return {
        "seed": result.plan.seed,
        "passed": result.passed,
        "cutShort": result.cut_short,
        "score": {name: value for name, value, _ in score(result)},
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


def page(result: Result, log_name: str) -> str:
    """The report."""
    return "\n".join(_lines(result, log_name)) + "\n"


def _empty(title: str) -> Table:
    made = Table(title=title, show_header=False, title_justify="left")
    made.add_column(style="dim")
    made.add_column(justify="right")
    return made


def _violation(one: Violation) -> dict[str, Any]:
    return {"kind": one.kind, "where": one.where, "what": one.what, "at": one.at}


def _lines(result: Result, log_name: str) -> Iterator[str]:
    plan = result.plan
    day = datetime.fromtimestamp(result.began, UTC).strftime("%Y-%m-%d %H:%M")
    yield "# Drill\n"
    yield f"`baton drill --minutes {result.minutes:g} --runs {plan.runs} --seed {plan.seed}`"
    yield f"on {day} UTC: {'passed' if result.passed else 'FAILED'}" + (
        ", ended early." if result.cut_short else "."
    )
    yield f"\n{_WHAT_IT_IS}\n"
    yield "| | |\n|---|---|"
    for name, value, fine in score(result):
        yield f"| {name} | {value}{'' if fine is not False else ' ✗'} |"
    yield "\n## Faults\n\n| fault | carried out | missed |\n|---|---|---|"
    done = Counter(hit.kind for hit in result.hits if not hit.missed)
    missed = Counter(hit.kind for hit in result.hits if hit.missed)
    for kind in sorted({hit.kind for hit in result.hits}):
        yield f"| {kind} | {done[kind]} | {missed[kind]} |"
    yield "\nA fault is missed where its process was just starting again, or its store was away."
    yield "\n## Runs\n\n| outcome | runs |\n|---|---|"
    for status, count in sorted(result.statuses.items()):
        yield f"| {status} | {count} |"
    yield "\n| claimed | runs |\n|---|---|"
    for times, count in sorted(result.claims.items()):
        yield f"| {'once' if times == 1 else f'{times} times'} | {count} |"
    yield from _violations(result)
    if result.own_deaths:
        yield "\n## Deaths that were not planned\n"
        yield from (f"- {one}" for one in result.own_deaths)
    yield f"\nEverything that happened is in `{log_name}`, one JSON object a line."


def _violations(result: Result) -> Iterator[str]:
    yield "\n## Violations\n"
    if result.passed:
        yield "None."
    for kind in Wrong:
        found = [one for one in result.violations if one.kind is kind]
        for one in found[:SPELT_OUT]:
            at = "" if one.at is None else f" (at {one.at - result.began:.2f} s)"
            yield f"- {kind}: {one.where}: {one.what}{at}"
        if len(found) > SPELT_OUT:
            yield f"- {kind}: {len(found) - SPELT_OUT} more"


def _numbers(result: Result) -> Iterator[tuple[str, str, bool | None]]:
    measures = result.measures
    asked = sum(len(one.asks) for one in result.watched)
    accepted = sum(len(one.accepted) for one in result.watched)
    events = sum(len(one.frames) for one in result.watched)
    yield "runs asked for", str(asked), None
    yield "runs accepted", str(accepted), None
    yield "events seen by clients", f"{events:,}", None
    yield "model calls", f"{result.calls:,}", None
    yield "effects in the ledger outside", f"{result.effects:,}", None
    yield "kills (kill -9)", str(kills(result.hits)), None
    by_poison = sum(hit.kind is FaultKind.POISON for hit in result.hits)
    yield "processes ended by poisonous runs", str(by_poison), None
    planned = sum(not hit.missed for hit in result.hits) - by_poison
    yield "faults in all, these not counted", str(planned), None
    taken, alone = measures.take_overs, measures.undisturbed
    yield (
        f"take-over, nothing else broken meanwhile ({len(alone.values)}): p50 / p95 / max",
        f"{_s(alone.at(0.5))} / {_s(alone.at(0.95))} / {_s(alone.longest)}",
        _within(alone.at(0.95), TAKE_OVER_GOAL_S),
    )
    yield (
        f"take-over, all ({len(taken.values)}): p50 / p95 / max",
        f"{_s(taken.at(0.5))} / {_s(taken.at(0.95))} / {_s(taken.longest)}",
        None,
    )
    longest = measures.longest_request
    yield (
        "longest unanswered request",
        f"{_s(waited(longest))} ({longest.op})" if longest else "-",
        _within(waited(longest), ANSWER_GOAL_S) if longest else None,
    )
    back = measures.recoveries
    yield (
        f"store killed → service whole ({len(back.values)}): p50 / max",
        f"{_s(back.at(0.5))} / {_s(back.longest)}",
        _within(back.longest, RECOVERY_GOAL_S),
    )
    yield "last fault → last run's end", _s(measures.calm_s), None
    ended = measures.ended
    yield (
        "accepted → end, with waiting: p50 / max",
        f"{_s(ended.at(0.5))} / {_s(ended.longest)}",
        None,
    )
    lost = "events shown and gone with runner and Redis at once (not promised)"
    yield lost, str(result.lost_together), None
    yield "deaths that were not planned", str(len(result.own_deaths)), None


def _within(value: float | None, goal: float) -> bool | None:
    return None if value is None else value <= goal


def _s(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
