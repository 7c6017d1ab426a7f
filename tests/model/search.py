"""Breadth-first search over all interleavings; the first violation found has the shortest story.

Safety is looked at in every state. Liveness: from every state an end must be within reach without
any further fault; that is asked backwards, from the ends, over the edges that are no faults.
"""

import gc
import random
import time
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)


class Violation(Exception):  # noqa: N818 - it is no error of the model
    """A state that must never be reached."""


@dataclass(frozen=True, slots=True)
class Told:
    """One line of a story."""

    action: str
    who: str
    what: Any
    fault: bool

    def __str__(self) -> str:
        what = self.what if isinstance(self.what, str) else _listed(self.what)
        return f"{'⚡' if self.fault else ' '} {self.who}: {self.action} {what}".rstrip()


class Next(Protocol[S_co]):
    """One thing that may happen."""

    @property
    def action(self) -> str: ...
    @property
    def who(self) -> str: ...
    @property
    def what(self) -> Any: ...
    @property
    def state(self) -> S_co: ...
    @property
    def fault(self) -> bool: ...


class System(Protocol[S]):
    """What can be searched."""

    start: S

    def steps(self, s: S) -> Iterable[Next[S]]: ...
    def check(self, s: S) -> None: ...
    def ended(self, s: S) -> bool: ...
    def check_end(self, s: S) -> None: ...


@dataclass
class Found:
    """What came of a search."""

    states: int = 0
    ends: int = 0
    seconds: float = 0.0
    complete: bool = True
    violation: str = ""
    story: list[str] = field(default_factory=list)
    actions: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        size = f"{self.states} states, {self.ends} ends, {self.seconds:.1f} s"
        if not self.violation:
            return f"{size}, {'all' if self.complete else 'NOT ALL'} searched: nothing wrong"
        lines = [f"{n:3} {line}" for n, line in enumerate(self.story, start=1)]
        return "\n".join([f"{size}: {self.violation}", *lines])


def search(system: System[S], *, most: int = 5_000_000) -> Found:
    """Look at every state that can be reached, up to `most`."""
    return _Search(system, most).run()


class _Search(Generic[S]):
    def __init__(self, system: System[S], most: int) -> None:
        self.system, self.most = system, most
        self.numbers: dict[S, int] = {system.start: 0}
        self.states = [system.start]
        #: How each state was first reached.
        self.parents = array("l", [-1])
        self.told: list[Told | None] = [None]
        #: Edges that are no faults, and the states that need nothing more.
        self.sources, self.targets = array("l"), array("l")
        self.ends: list[int] = []
        self.found = Found()

    def run(self) -> Found:
        begun = time.perf_counter()
        gc.disable()  # states are tuples, which make no cycles; looking for some takes long
        try:
            self._look_at_all()
        finally:
            gc.enable()
        if self.found.complete and not self.found.violation:
            self._check_liveness()
        self.found.states, self.found.ends = len(self.states), len(self.ends)
        self.found.seconds = time.perf_counter() - begun
        return self.found

    def _look_at_all(self) -> None:
        number = 0
        while number < len(self.states) and not self.found.violation:
            if len(self.states) > self.most:
                self.found.complete = False
                break
            self._look_at(number)
            number += 1

    def _look_at(self, number: int) -> None:
        state, last = self.states[number], None
        try:
            if self.system.ended(state):
                self.ends.append(number)
                self.system.check_end(state)
            for step in self.system.steps(state):
                last = step
                self._reach(number, step)
        except Violation as violation:
            self._violated(number, str(violation), None)
        except _StepViolation as violation:
            told = Told(last.action, last.who, last.what, last.fault) if last else None
            self._violated(number, str(violation), told)

    def _reach(self, number: int, step: Next[S]) -> None:
        target = self.numbers.get(step.state)
        if target is None:
            try:
                self.system.check(step.state)
            except Violation as violation:
                raise _StepViolation(str(violation)) from None
            target = self.numbers[step.state] = len(self.states)
            self.states.append(step.state)
            self.parents.append(number)
            self.told.append(Told(step.action, step.who, step.what, step.fault))
            self.found.actions.add(step.action)
        if not step.fault:
            self.sources.append(number)
            self.targets.append(target)

    def _violated(self, number: int, violation: str, last: Told | None) -> None:
        self.found.violation = violation
        self.found.story = [*self._story(number), *([str(last)] if last else [])]

    def _story(self, number: int) -> list[str]:
        lines = []
        while number > 0:
            lines.append(str(self.told[number]))
            number = self.parents[number]
        return lines[::-1]

    def _check_liveness(self) -> None:
        """Backwards from the ends: whatever is not met can never end any more."""
        first, following = array("l", [-1]) * len(self.states), array("l", self.targets)
        for edge, target in enumerate(self.targets):
            following[edge], first[target] = first[target], edge
        good = bytearray(len(self.states))
        for end in self.ends:
            good[end] = 1
        todo = list(self.ends)
        while todo:
            edge = first[todo.pop()]
            while edge >= 0:
                source = self.sources[edge]
                if not good[source]:
                    good[source] = 1
                    todo.append(source)
                edge = following[edge]
        stuck = good.find(0)
        if stuck >= 0:
            self._violated(stuck, f"no end can be reached any more, {good.count(0)} states", None)


class _StepViolation(Exception):  # noqa: N818 - a violation by the step that was about to be made
    pass


def walk(system: System[S], *, walks: int, seed: int, longest: int = 2000) -> Found:
    """Walk at random, with faults rarer than other steps; for what is too large to search."""
    chance, found, begun = random.Random(seed), Found(complete=False), time.perf_counter()
    for _ in range(walks):
        state, story = system.start, list[str]()
        try:
            for step in _one_walk(system, chance, longest):
                story.append(str(Told(step.action, step.who, step.what, step.fault)))
                found.actions.add(step.action)
                state = step.state
                system.check(state)
            system.check_end(state)
        except Violation as violation:
            found.violation, found.story = str(violation), story
        found.states += len(story)
        found.ends += 1
        if found.violation:
            break
    found.seconds = time.perf_counter() - begun
    return found


def _one_walk(system: System[S], chance: random.Random, longest: int) -> Iterator[Next[S]]:
    state = system.start
    for _ in range(longest):
        if system.ended(state):
            return
        steps = list(system.steps(state))
        faults = [step for step in steps if step.fault]
        others = [step for step in steps if not step.fault]
        if not others:
            raise Violation("nothing can happen any more")
        step = chance.choice(faults if faults and chance.random() < 0.15 else others)
        state = step.state
        yield step
    raise Violation("no end came")


def _listed(entries: Iterable[Any]) -> str:
    return f"[{', '.join(entry.data for entry in entries)}]"
