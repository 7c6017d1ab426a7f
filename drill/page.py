"""The report of a drill, as a page of Markdown for people who were not there."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from os import cpu_count

from drill.report import Line, Result, counts, durations, verdicts
from drill.verdict import Wrong

#: How many violations of a kind are spelt out.
SPELT_OUT = 10

_WHAT_WAS_DONE = """\
A stack of its own (3 runners, 2 gateways, 2 toolsvcs, Valkey and Postgres with durable settings,
the demo model) was broken on purpose while clients conversed with it over sockets that fail. A few
runs were poisonous: a tool of theirs ends the process that carries them. The seed fixes what is
said and what breaks when; how the processes' timing falls varies from run to run."""

_HOW_IT_WAS_JUDGED = """\
From outside: from what clients were sent, from the model server's log, from files that tools append
to, and from SQL. Each line is something that must not happen, and how often it did."""

_HOW_LONG = """\
As clients saw it, in seconds, beside the goals. These fail no drill, for they depend on the machine
({cpus} CPUs here, which clients, model and faults share) and on what breaks at the same time. A
take-over lasts from the death of a runner to the next event of a run that it carried; up to 4 s of
that are its lease."""


def page(result: Result, log_name: str) -> str:
    """The report."""
    return "\n".join(_lines(result, log_name)) + "\n"


def _lines(result: Result, log_name: str) -> Iterator[str]:
    plan = result.plan
    day = datetime.fromtimestamp(result.began, UTC).strftime("%Y-%m-%d %H:%M")
    early = ", ended early" if result.cut_short else ""
    yield "# Drill\n"
    yield f"**{'Passed' if result.passed else 'FAILED'}{early}**, {day} UTC:"
    yield f"`baton drill --minutes {result.minutes:g} --runs {plan.runs} --seed {plan.seed}`"
    yield f"\n## What was done\n\n{_WHAT_WAS_DONE}\n"
    yield from _table(("", "number"), ((one.name, one.value) for one in counts(result)))
    yield f"\n## What must not happen\n\n{_HOW_IT_WAS_JUDGED}\n"
    yield from _table(("", "times"), ((one.name, _marked(one)) for one in verdicts(result)))
    yield from _violations(result)
    yield f"\n## How long people waited\n\n{_HOW_LONG.format(cpus=cpu_count())}\n"
    rows = ((one.name, _marked(one), one.goal) for one in durations(result))
    yield from _table(("", "seconds", "goal"), rows)
    yield "\n## What became of the runs\n"
    yield from _table(("outcome", "runs"), sorted(result.statuses.items()))
    yield ""
    claims = sorted(result.claims.items())
    rows_of_claims = (("once" if n == 1 else f"{n} times", runs) for n, runs in claims)
    yield from _table(("claimed (each time but the first is a take-over)", "runs"), rows_of_claims)
    yield from _faults(result)
    yield f"\nEverything that happened is in `{log_name}`, one JSON object a line."


def _faults(result: Result) -> Iterator[str]:
    done = Counter(hit.kind for hit in result.hits if not hit.missed)
    missed = Counter(hit.kind for hit in result.hits if hit.missed)
    yield "\n## What broke\n"
    kinds = sorted({hit.kind for hit in result.hits})
    rows = ((kind, done[kind], missed[kind]) for kind in kinds)
    yield from _table(("fault", "times", "missed"), rows)
    yield "\nA fault is missed where its process was just starting again, or its store was away."
    if result.own_deaths:
        yield "\nDeaths that neither the plan nor a poisonous run explains:\n"
        yield from (f"- {one}" for one in result.own_deaths)


def _violations(result: Result) -> Iterator[str]:
    if not result.passed:
        yield ""
    for kind in Wrong:
        found = [one for one in result.violations if one.kind is kind]
        for one in found[:SPELT_OUT]:
            at = "" if one.at is None else f" (at {one.at - result.began:.2f} s)"
            yield f"- {kind}: {one.where}: {one.what}{at}"
        if len(found) > SPELT_OUT:
            yield f"- {kind}: {len(found) - SPELT_OUT} more"


def _marked(line: Line) -> str:
    return line.value if line.fine is not False else f"{line.value} ✗"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
