"""Runs that kill their runner: DESIGN's rule, that only they are ever called poisoned.

A small model of its own: threads do not matter, a lease that ends is the death of a process. Two
deaths since its last committed step make a run a suspect, which is carried in a process of its own;
two deaths there make it poisoned. The death of that process' parent counts for nothing.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.search import Violation

SUSPECT_AFTER = 2
POISONED_AFTER = 2
STEPS = 2
ALONE = 0  #: in place of a runner's number: a process of its own


class Run(NamedTuple):
    """A run, and what its deaths say of it."""

    kills: bool = False  #: whoever carries it dies before its next step is committed
    at: int | None = None  #: the runner that carries it
    steps: int = 0
    deaths: int = 0  #: since its last committed step
    alone: int = 0  #: of these, in a process of its own
    poisoned: bool = False

    @property
    def over(self) -> bool:
        """Whether nobody carries it any more."""
        return self.poisoned or self.steps == STEPS


class State(NamedTuple):
    """One runner after another, and the runs."""

    crashes: int
    runs: tuple[Run, ...]


class Step(NamedTuple):
    """One thing that happens."""

    action: str
    who: str
    what: str
    state: State
    fault: bool = False


class Poison:
    """One run that kills, and neighbours that do not."""

    def __init__(self, *, crashes: int, neighbours: int = 2) -> None:
        self.start = State(crashes, (Run(kills=True), *[Run()] * neighbours))

    def steps(self, s: State) -> Iterator[Step]:
        """All that may happen next."""
        for number, run in enumerate(s.runs):
            name = f"run {number}"
            if run.over:
                continue
            if run.at is None:
                place = ALONE if self.suspect(run) else 1
                word = "alone" if place == ALONE else "by the runner"
                yield Step("claim", name, word, _put(s, number, run._replace(at=place)))
            elif run.kills:
                yield Step("kill", name, "its process", self._death(s, number, run))
            else:
                done = run._replace(steps=run.steps + 1, deaths=0, alone=0)
                done = done._replace(at=None) if done.over else done
                yield Step("commit", name, f"step {done.steps}", _put(s, number, done))
        if s.crashes:
            left = s._replace(crashes=s.crashes - 1)
            yield Step("crash", "the runner", "", self._crash(left), True)

    def suspect(self, run: Run) -> bool:
        """Whether it is to be carried alone."""
        return run.deaths >= SUSPECT_AFTER

    def _death(self, s: State, number: int, run: Run) -> State:
        """The process of a run dies, and whatever else it carried is stranded too."""
        if run.at == ALONE:
            return _put(s, number, self.died_alone(run))
        return self._crash(s, children=False)

    def _crash(self, s: State, *, children: bool = True) -> State:
        runs = s.runs
        for number, run in enumerate(runs):
            if run.at == ALONE and children:
                s = _put(s, number, self.lost_parent(run))
            elif run.at not in (None, ALONE):
                s = _put(s, number, self.died_in_company(run))
        return s

    def died_in_company(self, run: Run) -> Run:
        """Its runner died, whoever was to blame."""
        return run._replace(at=None, deaths=min(run.deaths + 1, SUSPECT_AFTER))

    def died_alone(self, run: Run) -> Run:
        """Nobody else can be to blame."""
        alone = run.alone + 1
        return run._replace(at=None, alone=alone, poisoned=alone >= POISONED_AFTER)

    def lost_parent(self, run: Run) -> Run:
        """The process that had started its own died: that is not the run's doing."""
        return run._replace(at=None)

    # ------------------------------------------------------------------ what must hold
    def check(self, s: State) -> None:
        """Raises `Violation` where something is wrong that can never be made good."""
        for number, run in enumerate(s.runs):
            if run.poisoned and not run.kills:
                raise Violation(f"run {number} is called poisoned, and never killed anything")

    def ended(self, s: State) -> bool:
        """Whether nothing is left to do."""
        return all(run.over for run in s.runs)

    def check_end(self, s: State) -> None:
        """What must hold when nothing is left to do."""
        if not s.runs[0].poisoned:
            raise Violation("a run that kills ended otherwise")


def _put(s: State, number: int, run: Run) -> State:
    return s._replace(runs=(*s.runs[:number], run, *s.runs[number + 1 :]))


# ---------------------------------------------------------------------- planted bugs
class BlamesCompany(Poison):
    """Deaths in company make a run poisoned."""

    def died_in_company(self, run: Run) -> Run:
        return self.died_alone(run)


class BlamesChildren(Poison):
    """The death of its parent counts as the run's own."""

    def lost_parent(self, run: Run) -> Run:
        return self.died_alone(run)


class NeverAlone(Poison):
    """Suspects go on among the others."""

    def suspect(self, run: Run) -> bool:
        return False
