"""The ledger of effects: one call of a tool, its runner and its executor both mortal.

A small model of its own beside the spine: what the spine gives it is a fence that only grows. A
caller learns the outcome by asking again, so that a lost answer is a question more.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.search import Violation

NOTHING, CLAIMED, UNKNOWN, DONE = "nothing", "claimed", "unknown", "done"


class Faults(NamedTuple):
    """How often each may still happen."""

    lost: int = 0  #: the runner dies or sleeps past its lease, and may go on at any later time
    died: int = 0  #: the executing toolsvc dies
    slept: int = 0  #: it sleeps past the claim's lease, and goes on later


class Executor(NamedTuple):
    """A toolsvc at work on the call."""

    number: int
    ran: bool = False


class Call(NamedTuple):
    """The world of one call."""

    faults: Faults
    fence: int = 1
    callers: tuple[int, ...] = (1,)  #: fences of those who want the call carried out
    lost: bool = False  #: whether the newest of them may be replaced
    status: str = NOTHING
    owner: int = 0
    lapsed: bool = False  #: whether the claim's lease has ended
    executors: tuple[Executor, ...] = ()
    made: int = 0
    times: int = 0  #: how often the tool took effect
    over: bool = False  #: the run has the outcome, or ended without


class Step(NamedTuple):
    """One thing that happens."""

    action: str
    who: str
    what: str
    state: Call
    fault: bool = False


class Ledger:
    """What callers, executors and the world may do."""

    def __init__(self, faults: Faults, *, idempotent: bool = False) -> None:
        self.idempotent = idempotent
        self.start = Call(faults)

    def steps(self, s: Call) -> Iterator[Step]:
        """All that may happen next."""
        for fence in s.callers:
            yield from self.ask(s, fence)
        if s.lost and not s.over:
            taken = s._replace(fence=s.fence + 1, callers=(*s.callers, s.fence + 1), lost=False)
            yield Step("claim", f"runner {taken.fence}", "takes the run over", taken)
        for one in s.executors:
            yield self._work(s, one)
        yield from self._faults(s)

    def ask(self, s: Call, fence: int) -> Iterator[Step]:
        """`effects.claim`, and what the caller does with what it finds."""
        who = f"runner {fence}"
        if s.over or not self.permitted(s, fence):
            left = tuple(one for one in s.callers if one != fence)
            yield Step("ask", who, "fenced", s._replace(callers=left))
        elif s.status == NOTHING or (self.open(s) and self.idempotent):
            yield Step("ask", who, "may begin", self.begun(s, fence))
        elif self.open(s):
            unknown = s._replace(status=UNKNOWN, over=True)
            yield Step("ask", who, "nobody knows what came of it", unknown)
        elif s.status == DONE:
            yield Step("ask", who, "has the result", s._replace(over=True))

    def permitted(self, s: Call, fence: int) -> bool:
        """Whether the caller's claim is the newest."""
        return fence == s.fence

    def open(self, s: Call) -> bool:
        """Whether somebody began, and will not say what came of it."""
        return s.status in (CLAIMED, UNKNOWN) and s.lapsed

    def begun(self, s: Call, fence: int) -> Call:
        """The row is written before the tool runs."""
        if fence != s.fence:
            raise Violation("a runner that was overtaken has an effect")
        number = s.made + 1
        executors = (*s.executors, Executor(number))
        return s._replace(
            status=CLAIMED, owner=number, lapsed=False, executors=executors, made=number
        )

    def _work(self, s: Call, one: Executor) -> Step:
        others = tuple(other for other in s.executors if other != one)
        if not one.ran:
            ran = s._replace(executors=(*others, one._replace(ran=True)), times=s.times + 1)
            return Step("run", f"executor {one.number}", "the tool takes effect", ran)
        mine = s.owner == one.number and s.status in (CLAIMED, UNKNOWN)
        settled = s._replace(executors=others, status=DONE if mine else s.status)
        return Step("settle", f"executor {one.number}", "is done", settled)

    def _faults(self, s: Call) -> Iterator[Step]:
        if s.faults.lost and not s.lost:
            left = s.faults._replace(lost=s.faults.lost - 1)
            yield Step("lose", f"runner {s.fence}", "", s._replace(faults=left, lost=True), True)
        for one in s.executors:
            lapsed = s.lapsed or s.owner == one.number
            if s.faults.died:
                left = s.faults._replace(died=s.faults.died - 1)
                others = tuple(other for other in s.executors if other != one)
                dead = s._replace(faults=left, executors=others, lapsed=lapsed)
                yield Step("die", f"executor {one.number}", "", dead, True)
            if s.faults.slept and lapsed != s.lapsed:
                left = s.faults._replace(slept=s.faults.slept - 1)
                asleep = s._replace(faults=left, lapsed=True)
                yield Step("sleep", f"executor {one.number}", "", asleep, True)

    # ------------------------------------------------------------------ what must hold
    def check(self, s: Call) -> None:
        """Raises `Violation` where something is wrong that can never be made good."""
        if s.times > 1 and not self.idempotent:
            raise Violation(f"the tool took effect {s.times} times")

    def ended(self, s: Call) -> bool:
        """Whether nothing is left to do."""
        return s.over and not s.callers and not s.executors

    def check_end(self, s: Call) -> None:
        """What must hold when nothing is left to do."""
        if s.status == DONE and s.times == 0:
            raise Violation("the outcome is known, and nothing took effect")


# ---------------------------------------------------------------------- planted bugs
class NoRow(Ledger):
    """The tool runs, and its row is written afterwards."""

    def begun(self, s: Call, fence: int) -> Call:
        return super().begun(s, fence)._replace(status=NOTHING)


class UnknownAgain(Ledger):
    """A call whose outcome nobody knows is made again, whatever the tool says."""

    def ask(self, s: Call, fence: int) -> Iterator[Step]:
        if self.open(s) and self.permitted(s, fence):
            yield Step("ask", f"runner {fence}", "may begin again", self.begun(s, fence))
        else:
            yield from super().ask(s, fence)


class AnyFence(Ledger):
    """The ledger does not compare fences."""

    def permitted(self, s: Call, fence: int) -> bool:
        return True


class NeverOpen(Ledger):
    """A claim whose executor is gone stays claimed."""

    def open(self, s: Call) -> bool:
        return False
