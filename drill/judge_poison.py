"""Judges the runs that kill whatever carries them: they end as poisoned, and end no more than that.

Nobody else may end so. Runs become suspect by the drill's own kills, twice in the same step; but
then they have a process of their own, which the drill never kills, and which gives its run away
when its parent is killed. So nothing in the record of kills can explain a poisoned neighbour.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from drill.evidence import RunRow
from drill.plan import FaultKind
from drill.poison import HOW, Killed
from drill.records import Hit, Watched
from drill.talk import Kind
from drill.verdict import Violation, Wrong

POISONED = "poisoned"

#: So many processes of each kind may die of a run: first those shared with others, then its own.
DEATHS = 2


def judge_poison(
    watched: Watched,
    runs: Mapping[str, RunRow],
    killed: Sequence[Killed],
    hits: Sequence[Hit],
    *,
    live: Collection[str],
) -> Iterator[Violation]:
    """Each poisonous run has ended so, and in time; what is still `live` is judged as lost."""
    for ask in watched.asks:
        row = runs.get(ask.run)
        if ask.kind is not Kind.POISON or row is None or row.status in live:
            continue
        for what in (*_ending(row), *_deaths(ask.run, killed, hits)):
            at = watched.ended.get(ask.run)
            yield Violation(kind=Wrong.POISON, where=ask.run, what=what, at=at)


def _ending(row: RunRow) -> Iterator[str]:
    if (row.status, row.error_code) != ("failed", POISONED):
        yield f"ended as {row.status}: {row.error_code}"
    elif row.last_death != HOW:
        yield f"the reason kept is {row.last_death!r} instead of {HOW!r}"


def _deaths(run: str, killed: Sequence[Killed], hits: Sequence[Hit]) -> Iterator[str]:
    mine = [one for one in killed if one.run == run]
    # A runner that was stopped has lost its runs; when it wakes, it may still be inside a tool.
    woken = {hit.pid for hit in hits if hit.kind is FaultKind.STOP_RUNNER}
    shared = sum(not one.alone and one.pid not in woken for one in mine)
    alone = sum(one.alone for one in mine)
    if shared > DEATHS:
        yield f"it has ended {shared} runners, and everything beside it"
    if not 1 <= alone <= DEATHS:
        yield f"it has ended {alone} processes of its own"
