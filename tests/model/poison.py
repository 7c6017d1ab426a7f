"""Runs that kill their runner: DESIGN's rule, that only they are ever called poisoned.

A small model of its own: threads do not matter, a lease that ends is the death of a process. Deaths
are counted since a run's last committed step. After `SUSPECT` of them it is carried in a process of
its own, after `POISONED` it is closed. That process may die before its claim as well, and counts
then; the death of its parent counts for nothing, nor does an end that it was told to.
"""

from collections.abc import Iterator
from typing import NamedTuple

from shared.db.conversations import SUSPECT
from tests.model.search import Violation
from toolsvc.runs.deaths import POISONED

STEPS = 2
ALONE = 0  #: in place of a runner's number: a process of its own


class Kills(NamedTuple):
    """What a run does to whoever carries it."""

    carrier: bool = False  #: it dies before its next step is committed
    starting: bool = False  #: a process of its own dies before its claim


class Run(NamedTuple):
    """A run, and what its deaths say of it."""

    kills: Kills = Kills()
    at: int | None = None  #: the runner that carries it
    starting: bool = False  #: a process of its own is being started
    steps: int = 0
    deaths: int = 0  #: since its last committed step
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

    def __init__(self, *, crashes: int, kills: Kills, neighbours: int = 2) -> None:
        self.start = State(crashes, (Run(kills), *[Run()] * neighbours))

    def steps(self, s: State) -> Iterator[Step]:
        """All that may happen next."""
        for number, run in enumerate(s.runs):
            if not run.over:
                yield from self._run(s, number, run)
        if s.crashes:
            left = s._replace(crashes=s.crashes - 1)
            yield Step("crash", "the runner", "", self._crash(left), True)

    def _run(self, s: State, number: int, run: Run) -> Iterator[Step]:
        name = f"run {number}"
        if self.closed(run):
            yield Step("close", name, "poisoned", _put(s, number, run._replace(poisoned=True)))
        elif run.starting and run.kills.starting:
            yield Step("kill", name, "a start", _put(s, number, self.died_starting(run)))
        elif run.starting:
            claimed = run._replace(starting=False, at=ALONE)
            yield Step("claim", name, "alone", _put(s, number, claimed))
        elif run.at is None and self.suspect(run):
            yield Step("ask", name, "for a process", _put(s, number, run._replace(starting=True)))
        elif run.at is None:
            yield Step("claim", name, "by the runner", _put(s, number, run._replace(at=1)))
        elif run.kills.carrier:
            yield Step("kill", name, "its process", self._death(s, number, run))
        else:
            done = run._replace(steps=run.steps + 1, deaths=0)
            done = done._replace(at=None) if done.over else done
            yield Step("commit", name, f"step {done.steps}", _put(s, number, done))

    def suspect(self, run: Run) -> bool:
        """Whether it is to be carried alone."""
        return run.deaths >= SUSPECT

    def closed(self, run: Run) -> bool:
        """Whether toolsvc closes it: nobody carries it, and nobody shall any more."""
        return run.at is None and not run.starting and run.deaths >= POISONED

    def _death(self, s: State, number: int, run: Run) -> State:
        """The process of a run dies, and whatever else it carried is stranded too."""
        if run.at == ALONE:
            return _put(s, number, self.died_alone(run))
        return self._crash(s, children=False)

    def _crash(self, s: State, *, children: bool = True) -> State:
        for number, run in enumerate(s.runs):
            if run.at == ALONE or run.starting:
                s = _put(s, number, self.lost_parent(run)) if children else s
            elif run.at is not None:
                s = _put(s, number, self.died_in_company(run))
        return s

    def died_in_company(self, run: Run) -> Run:
        """Its runner died, whoever was to blame."""
        return run._replace(at=None, deaths=run.deaths + 1)

    def died_alone(self, run: Run) -> Run:
        """Nobody else can be to blame."""
        return run._replace(at=None, deaths=run.deaths + 1)

    def died_starting(self, run: Run) -> Run:
        """A process that was started for it died before its claim, and its parent says so."""
        return run._replace(starting=False, deaths=run.deaths + 1)

    def lost_parent(self, run: Run) -> Run:
        """The process that had started its own died: that is not the run's doing."""
        return run._replace(at=None, starting=False)

    # ------------------------------------------------------------------ what must hold
    def check(self, s: State) -> None:
        """Raises `Violation` where something is wrong that can never be made good."""
        for number, run in enumerate(s.runs):
            if run.poisoned and not any(run.kills):
                raise Violation(f"run {number} is called poisoned, and never killed anything")
            if run.deaths > POISONED:
                raise Violation(f"run {number} has killed {run.deaths} processes")

    def ended(self, s: State) -> bool:
        """Whether nothing is left to do."""
        return all(run.over for run in s.runs)

    def check_end(self, s: State) -> None:
        """What must hold when nothing is left to do."""
        if s.runs[0].kills.carrier and not s.runs[0].poisoned:
            raise Violation("a run that kills ended otherwise")


def _put(s: State, number: int, run: Run) -> State:
    return s._replace(runs=(*s.runs[:number], run, *s.runs[number + 1 :]))


# ---------------------------------------------------------------------- planted bugs
class BlamesCompany(Poison):
    """Deaths in company make a run poisoned."""

    def suspect(self, run: Run) -> bool:
        return False

    def closed(self, run: Run) -> bool:
        return run.at is None and run.deaths >= SUSPECT


class BlamesChildren(Poison):
    """The death of its parent counts as the run's own."""

    def lost_parent(self, run: Run) -> Run:
        return run._replace(at=None, starting=False, deaths=run.deaths + 1)


class NeverAlone(Poison):
    """Suspects go on among the others."""

    def suspect(self, run: Run) -> bool:
        return False


class TriesForEver(Poison):
    """A process that dies before its claim is started again, and counted for nothing."""

    def died_starting(self, run: Run) -> Run:
        return run._replace(starting=False)
