"""Planted bugs: the spine with one rule broken each, so that the search can show that it sees.

Each says what was done wrong; a world (scene and faults) in which it shows is in the table below.
"""

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from gateway.relay.feed import Fill
from shared.bus.append import Answer, Batch, Entry, Mode, Reply
from shared.bus.events import Announcement
from shared.protocol.position import START, Position
from tests.model.carrier import Appended, announce, put, who
from tests.model.record import RefusedError, insert, put_run
from tests.model.spine import Spine
from tests.model.state import (
    END,
    RUN_STARTED,
    Carrier,
    Commit,
    Faults,
    Listener,
    Row,
    Run,
    Scene,
    State,
    Status,
    Step,
    entry,
    row_of,
)


class Unfenced(Spine):
    """append.lua does not compare fences: a zombie writes after its successor."""

    def append(self, stream: tuple[Entry, ...], batch: Batch) -> Appended:
        if stream and stream[-1].at.fence > batch.fence:
            entries = tuple(batch.entries)
            return (*stream, *entries), Reply(Answer.OK, entries[-1].at.seq), ()
        return super().append(stream, batch)


class ZombieCommits(Spine):
    """A commit does not compare fences."""

    def carries(self, run: Run, c: Carrier) -> bool:
        return True

    def newest(self, s: State, c: Carrier) -> bool:
        return True


class NoTail(Spine):
    """A take-over leaves behind what only the stream has."""

    def tail(self, s: State, c: Carrier) -> tuple[Row, ...]:
        return ()


class WholeTail(Spine):
    """The tail is everything of older fences, and not what lies after the settled ones."""

    def tail(self, s: State, c: Carrier) -> tuple[Row, ...]:
        return tuple(
            row
            for row in map(row_of, s.stream)
            if row.fence < c.fence and row not in s.rows and row.at < Position(c.fence, 0)
        )

    def check_order(self, s: State, c: Carrier, commit: Commit, *, settling: bool) -> None:
        if commit.tail is None:
            super().check_order(s, c, commit, settling=settling)


class TailBeforeStart(Spine):
    """The tail is read while the predecessor can still write."""

    def claim(self, s: State, number: int, *, closer: bool) -> Iterator[Step]:
        for step in super().claim(s, number, closer=closer):
            c = step.state.carriers[-1] if step.state.carriers else None
            if c is None or c.fence != s.fence + 1 or s.runs[number].fence == 0:
                yield step
            else:
                early = c._replace(tail=super().tail(step.state, c))
                yield step._replace(state=put(step.state, c, early))

    def tail(self, s: State, c: Carrier) -> tuple[Row, ...]:
        return c.tail


class StartsAgain(Spine):
    """A take-over begins with RUN_STARTED, as if nothing had been."""

    def start_type(self, *, first: bool) -> str:
        return RUN_STARTED


class SettlesTooEarly(Spine):
    """A take-over's claim says that SQL has everything, before the tail is stored."""

    def settles_at_once(self, *, first: bool) -> bool:
        return True

    def check_order(self, s: State, c: Carrier, commit: Commit, *, settling: bool) -> None:
        pass


class RepeatsAnew(Spine):
    """A commit that comes again is not recognised."""

    def commit(self, s: State, c: Carrier, commit: Commit) -> State:
        run = s.runs[c.run]
        if commit.n == run.commits and run.fence == c.fence:
            raise RefusedError("gap")
        return super().commit(s, c, commit)


class ForgetsJournal(Spine):
    """A take-over does not get the recorded steps."""

    def journal_of(self, s: State, number: int) -> int:
        return 0 if s.runs[number].fence else s.journal


class OwnJournal(Spine):
    """A resumed run gets its own steps, and not its root's."""

    def journal_of(self, s: State, number: int) -> int:
        return 0 if number else s.journal


class EndBeforeCommit(Spine):
    """The terminal event is published before SQL has it."""

    def finish(self, s: State, c: Carrier, rows: tuple[Row, ...]) -> Iterator[Step]:
        end = entry(c.fence, c.last + 1, END, c.run + 1)
        if end in s.stream:
            yield from super().finish(s, c, rows)
        elif s.stream and s.stream[-1].at == Position(c.fence, c.last):
            batch = Batch(_NOBODY, c.fence, (end,))
            stream, _, news = self.append(s.stream, batch)
            for told, lost in announce(s._replace(stream=stream), news):
                yield Step("append", who(c), (end,), told, lost)


class NeverForced(Spine):
    """A writer does not go past what it no longer holds."""

    def have(self, c: Carrier, seq: int) -> Carrier:
        found = super().have(c, seq)
        return found._replace(mode=Mode.APPEND) if found.mode is Mode.FORCE else found


class NobodyTakesOver(Spine):
    """Nobody notices that a lease has ended."""

    def stranded(self, run: Run) -> bool:
        return False


class ClaimsAreNotNamed(Spine):
    """A run whose claim's answer was lost stays with a runner that does not know of it."""

    def unnamed(self, s: State, run: Run) -> bool:
        return False


class ClosesWithoutClaim(Spine):
    """A close ends the run under the fence that its runner still writes with."""

    def claim(self, s: State, number: int, *, closer: bool) -> Iterator[Step]:
        run = s.runs[number]
        if not closer:
            yield from super().claim(s, number, closer=closer)
        elif run.status is Status.RUNNING and s.last.fence == run.fence == s.settled:
            end = row_of(entry(run.fence, s.last.seq + 1, END, number + 1))
            closed = s._replace(rows=insert(s.rows, (end,)), last=end.end)
            ended = put_run(closed, number, status=Status.ENDED, leased=False)
            yield Step("close", "toolsvc", (end,), ended)


class GapsPass(Spine):
    """What does not follow the cursor is shown all the same."""

    def follows(self, cursor: Position, news: Announcement) -> int | None:
        found = super().follows(cursor, news)
        return 0 if found is None else found


class FencesJoin(Spine):
    """A change of fence counts as no gap."""

    def follows(self, cursor: Position, news: Announcement) -> int | None:
        found = super().follows(cursor, news)
        return 0 if found is None and news.first.seq == 1 else found


class StreamAloneBefore(Spine):
    """RUN_STARTED names the stream's last id as the one before it, also where SQL has more."""

    def id_before(self, c: Carrier) -> Position:
        return START


class ShowsUnsettled(Spine):
    """Events above the settled fence are shown."""

    def follows(self, cursor: Position, news: Announcement) -> int | None:
        return super().follows(cursor, news._replace(settled=True))

    def fill(
        self, cursor: Position, entries: tuple[Entry, ...], rows: tuple[Row, ...], settled: int
    ) -> Fill:
        newest = max((row.fence for row in rows), default=settled)
        return super().fill(cursor, entries, rows, newest)


class NothingIsOld(Spine):
    """Nobody drops what lies before the cursor."""

    def known(self, one: Listener, at: Position) -> bool:
        return False

    def follows(self, cursor: Position, news: Announcement) -> int | None:
        found = super().follows(cursor, news)
        return 0 if news.settled else found


class NobodyLooks(Spine):
    """Gateways trust the stream, and never look at SQL."""

    def look(self, s: State, one: Listener) -> Iterator[Step]:
        yield from ()


class LooksWhileActive(Spine):
    """Gateways look at SQL only while a run is carried."""

    def look(self, s: State, one: Listener) -> Iterator[Step]:
        if any(run.status is Status.RUNNING for run in s.runs):
            yield from super().look(s, one)


class ResetsTooFar(Spine):
    """A reset in the middle of a run goes on from the last stored event."""

    def beginning(self, s: State) -> Position:
        return s.last


class Planted(NamedTuple):
    """A bug and a small world in which it shows."""

    spine: type[Spine]
    faults: Faults
    scene: Scene = Scene()


_NOBODY = UUID(int=0)

PLANTED = (
    Planted(Unfenced, Faults(freeze=1)),
    Planted(ZombieCommits, Faults(freeze=1)),
    Planted(NoTail, Faults(crash=1)),
    Planted(WholeTail, Faults(crash=1, freeze=1, flush=1), Scene(client=False)),
    Planted(TailBeforeStart, Faults(freeze=1)),
    Planted(StartsAgain, Faults(crash=1)),
    Planted(SettlesTooEarly, Faults(crash=1)),
    Planted(RepeatsAnew, Faults(unanswered=1)),
    Planted(ForgetsJournal, Faults(crash=1)),
    Planted(OwnJournal, Faults(), Scene(steps=(1, 2))),
    Planted(EndBeforeCommit, Faults(crash=1)),
    Planted(NeverForced, Faults(lose=1), Scene(forgetful=True)),
    Planted(NobodyTakesOver, Faults(crash=1), Scene(client=False)),
    Planted(ClaimsAreNotNamed, Faults(unanswered=1), Scene(client=False)),
    Planted(ClosesWithoutClaim, Faults(cancel=1)),
    Planted(GapsPass, Faults(unheard=1)),
    Planted(FencesJoin, Faults(unheard=1), Scene(steps=(1, 1))),
    Planted(StreamAloneBefore, Faults(lose=1), Scene(steps=(0, 0))),
    Planted(ShowsUnsettled, Faults(crash=1)),
    Planted(NothingIsOld, Faults()),
    Planted(NobodyLooks, Faults(unheard=1)),
    Planted(LooksWhileActive, Faults(unheard=1)),
    Planted(ResetsTooFar, Faults()),
)
