"""What a carrier does with a claimed run: fence Redis, settle, carry out steps, end; and publish.

`runner.run:Driver.carry` and `toolsvc.runs.close` are told here, one request an action. The stream
is `tests.shared.append_model`, which its own tests hold against append.lua on real servers.
"""

from collections.abc import Iterator
from functools import lru_cache
from uuid import UUID

from shared.bus.append import Answer, Batch, Entry, Mode, Reply
from shared.bus.events import Announcement
from shared.protocol.position import Position
from tests.model.record import Record, RefusedError, spend
from tests.model.search import Violation
from tests.model.state import (
    END,
    TEXT,
    At,
    Carrier,
    Commit,
    Place,
    Row,
    State,
    Status,
    Step,
    entry,
    entry_of,
    joined,
    row_of,
)
from tests.shared.append_model import StreamModel

_THREAD = UUID(int=0)
Appended = tuple[tuple[Entry, ...], Reply, tuple[Announcement, ...]]


class Carriers(Record):
    """Runners, closing toolsvcs, and zombies of both."""

    def carriers(self, s: State) -> Iterator[Step]:
        """Every carrier's next moves."""
        for c in s.carriers:
            match c.at:
                case At.START:
                    yield from self._start(s, c)
                case At.TAIL:
                    yield from self._read_tail(s, c)
                case At.SETTLE:
                    yield from self._settle(s, c)
                case At.WORK:
                    yield from self._work(s, c)
                    yield from self._publish(s, c)
                case At.DONE:
                    yield from self._publish(s, c)

    # ------------------------------------------------------------------ beginning
    def _start(self, s: State, c: Carrier) -> Iterator[Step]:
        starts = self._starts(s, c)
        first = len(starts) == 1
        batch = Batch(
            _THREAD, c.fence, starts, Mode.CREATE, settled=first, sql_last=self.id_before(c)
        )
        stream, reply, news = self.append(s.stream, batch)
        if reply.answer is Answer.FENCED:
            yield Step("start", who(c), "FENCED", self._fenced(s, c))
            return
        further = self._begin_step(s, c) if first else c._replace(at=At.TAIL)
        for told, lost in announce(s._replace(stream=stream), news):
            yield Step("start", who(c), starts, put(told, c, further), lost)
        if lost_answer := spend(s._replace(stream=stream), "unanswered"):
            for told, _ in announce(lost_answer, news, surely=True):
                after = gone(told, c) if c.closer else told
                yield Step("start", who(c), (*starts, *_NO_ANSWER), after, fault=True)

    def id_before(self, c: Carrier) -> Position:
        """A cursor at this id, or at the stream's last if that is higher, has no gap."""
        return c.sql_last

    def _read_tail(self, s: State, c: Carrier) -> Iterator[Step]:
        tail = self.tail(s, c)
        yield Step("tail", who(c), tail, put(s, c, c._replace(at=At.SETTLE, tail=tail)))

    def tail(self, s: State, c: Carrier) -> tuple[Row, ...]:
        """What the stream has above the last settled id, of fences before the carrier's."""
        known = {one.at for one in self._starts(s, c)}
        return tuple(
            row_of(one)
            for one in s.stream
            if one.at > c.sql_last and one.at.fence < c.fence and one.at not in known
        )

    def _settle(self, s: State, c: Carrier) -> Iterator[Step]:
        if c.closer:
            end = row_of(entry(c.fence, 2, END, c.run + 1))
            yield from self._send(s, c, Commit(1, (end,), c.tail, ends=True), "finish")
        else:
            yield from self._send(s, c, Commit(1, (), c.tail), "settle")

    def _starts(self, s: State, c: Carrier) -> tuple[Entry, ...]:
        """All start rows of the run, which the answer to the claim brought."""
        return tuple(
            entry_of(row)
            for row in s.rows
            if row.seq == 1 and row.run == c.run + 1 and row.fence <= c.fence
        )

    # ------------------------------------------------------------------ steps
    def _begin_step(self, s: State, c: Carrier) -> Carrier:
        """Replay hands out what is recorded; the first step that is not begins to speak."""
        if c.recorded >= self.scene.steps[c.run] or s.runs[c.run].cancelled:
            return c._replace(at=At.WORK, words=0)
        if c.fence == s.fence and s.journal > c.recorded:
            raise Violation(f"{who(c)} executes a finished step again")
        return c._replace(at=At.WORK, words=1, last=c.last + 1)

    def _work(self, s: State, c: Carrier) -> Iterator[Step]:
        if c.repeats:
            yield from self._send(s, c, c.repeats, _kind(c.repeats))
            return
        rows = self._uncommitted(c)
        if 0 < c.words < self.scene.words:
            said = c._replace(words=c.words + 1, last=c.last + 1)
            yield Step(
                "say", who(c), (entry(c.fence, said.last, TEXT, c.run + 1),), put(s, c, said)
            )
            if self.scene.partly and rows:
                yield from self._send(s, c, Commit(c.commits + 1, rows), "events")
        elif c.words:
            yield from self._send(s, c, Commit(c.commits + 1, rows, steps=1), "commit")
        if not c.words or s.runs[c.run].cancelled:
            yield from self.finish(s, c, rows)

    def finish(self, s: State, c: Carrier, rows: tuple[Row, ...]) -> Iterator[Step]:
        """The end is committed with what is left, and published only then."""
        end = row_of(entry(c.fence, c.last + 1, END, c.run + 1))
        yield from self._send(s, c, Commit(c.commits + 1, (*rows, end), ends=True), "finish")

    def _uncommitted(self, c: Carrier) -> tuple[Row, ...]:
        """Everything since the last commit, deltas joined."""
        words = [row_of(one) for one in self.own(c, c.committed + 1)]
        return (joined(tuple(words)),) if words else ()

    def _send(self, s: State, c: Carrier, commit: Commit, action: str) -> Iterator[Step]:
        """One commit; without an answer it is sent again, the same to the byte."""
        try:
            stored = self.commit(s, c, commit)
        except RefusedError as refused:
            if refused.code != "fenced" and c.fence == s.fence:
                raise Violation(f"{who(c)} is refused its commit: {refused.code}") from None
            yield Step(action, who(c), f"refused as {refused.code}", gone(s, c))
            return
        rows = (*(commit.tail or ()), *commit.rows)
        yield Step(action, who(c), rows, put(stored, c, self._committed(stored, c, commit)))
        lost = spend(stored, "unanswered") if c.repeats is None else None
        if lost:
            after = gone(lost, c) if c.closer else put(lost, c, c._replace(repeats=commit))
            yield Step(action, who(c), (*rows, *_NO_ANSWER), after, fault=True)

    def _committed(self, s: State, c: Carrier, commit: Commit) -> Carrier:
        upto = commit.rows[-1].seq_to if commit.rows else c.committed
        c = c._replace(commits=commit.n, committed=upto, repeats=None, tail=())
        if commit.ends:
            return c._replace(at=At.DONE, last=upto, words=0)
        if c.at is At.WORK and not commit.steps:
            return c
        return self._begin_step(s, c._replace(recorded=c.recorded + commit.steps))

    # ------------------------------------------------------------------ publishing
    def _publish(self, s: State, c: Carrier) -> Iterator[Step]:
        """The outbox: what Redis lacks is sent; the stream's answer says from where on."""
        if c.asks:
            yield self._confirm(s, c)
            return
        if c.acked >= c.last and c.mode is not Mode.CREATE:
            return
        batch = self._batch(s, c)
        stream, reply, news = self.append(s.stream, batch)
        entries = tuple(batch.entries)
        match reply.answer:
            case Answer.FENCED:
                yield Step("append", who(c), "FENCED", self._fenced(s, c))
            case Answer.EMPTY:
                after = gone(s, c) if c.closer else put(s, c, c._replace(asks=True))
                yield Step("append", who(c), "EMPTY", after)
            case Answer.HAVE:
                after = self._sent(s, c, self.have(c, reply.seq))
                yield Step("append", who(c), f"HAVE {reply.seq}", after)
            case Answer.OK:
                sent = c._replace(acked=reply.seq, mode=Mode.APPEND)
                for told, lost in announce(s._replace(stream=stream), news):
                    yield Step("append", who(c), entries, self._sent(told, c, sent), lost)
                if lost_answer := spend(s._replace(stream=stream), "unanswered"):
                    for told, _ in announce(lost_answer, news, surely=True):
                        after = gone(told, c) if c.closer else told
                        yield Step("append", who(c), (*entries, *_NO_ANSWER), after, fault=True)

    def _batch(self, s: State, c: Carrier) -> Batch:
        if c.mode is Mode.CREATE:
            entries = (*self._starts(s, c), *self.own(c, self._kept_from(c)))
            return Batch(_THREAD, c.fence, entries, Mode.CREATE)
        low = max(c.acked + 1, self._kept_from(c))
        return Batch(_THREAD, c.fence, self.own(c, low), c.mode)

    def have(self, c: Carrier, seq: int) -> Carrier:
        """The stream holds our fence up to `seq`: go on from the next, or past what is gone."""
        mode = Mode.APPEND
        if seq + 1 < self._kept_from(c):
            mode = Mode.FORCE
        if seq == 0:
            mode = Mode.CREATE
        return c._replace(acked=seq, mode=mode)

    def _sent(self, s: State, c: Carrier, sent: Carrier) -> State:
        """Whoever has said the end, and sent it, is through; a closer tries but once."""
        through = sent.acked >= sent.last and sent.mode is not Mode.CREATE
        if c.at is At.DONE and (through or c.closer):
            return gone(s, c)
        return put(s, c, sent)

    def _confirm(self, s: State, c: Carrier) -> Step:
        """The stream is gone: SQL says whether the carrier may write it anew."""
        run = s.runs[c.run]
        if run.status is Status.RUNNING and run.fence == s.fence == c.fence:
            anew = c._replace(asks=False, mode=Mode.CREATE, acked=1)
            return Step("confirm", who(c), "is the newest", put(s, c, anew))
        return Step("confirm", who(c), "is it no more", gone(s, c))

    def _fenced(self, s: State, c: Carrier) -> State:
        if s.fence == c.fence:
            raise Violation(f"{who(c)} is fenced by nobody")
        return gone(s, c)

    def _kept_from(self, c: Carrier) -> int:
        """The oldest event still in memory; the newest always is."""
        return min(c.committed, c.last - 1) + 1 if self.scene.forgetful else 2

    def own(self, c: Carrier, low: int) -> tuple[Entry, ...]:
        """Events from `low` on; the terminal one is among them only when SQL has it."""
        return tuple(
            entry(c.fence, seq, END if c.at is At.DONE and seq == c.last else TEXT, c.run + 1)
            for seq in range(low, c.last + 1)
        )

    def append(self, stream: tuple[Entry, ...], batch: Batch) -> Appended:
        """`append.lua`."""
        return _append(stream, batch)


_NO_ANSWER = (Entry(entry(0, 0, TEXT, 0).at, "", "", "(no answer)"),)


@lru_cache(maxsize=1 << 18)
def _append(stream: tuple[Entry, ...], batch: Batch) -> Appended:
    model = StreamModel(list(stream))
    reply = model.append(batch)
    news = tuple(one._replace(events=tuple(one.events)) for one in model.published)
    return tuple(model.entries), reply, news


def announce(
    s: State, news: tuple[Announcement, ...], *, surely: bool = False
) -> Iterator[tuple[State, bool]]:
    """Messages reach the listeners of this moment, or are lost; the bool says that they are."""
    if s.listener.place is Place.AWAY or not news:
        yield s, False
        return
    yield s._replace(listener=s.listener._replace(inbox=(*s.listener.inbox, *news))), False
    if not surely and (lost := spend(s, "unheard")):
        yield lost, True


def put(s: State, c: Carrier, new: Carrier) -> State:
    """The state with a carrier that has come further."""
    return s._replace(carriers=tuple(new if one is c else one for one in s.carriers))


def gone(s: State, c: Carrier) -> State:
    """The state without a carrier; if it was carrying, its lease ends."""
    runs = tuple(
        run._replace(leased=False) if run.fence == c.fence and run.leased else run for run in s.runs
    )
    return s._replace(runs=runs, carriers=tuple(one for one in s.carriers if one is not c))


def who(c: Carrier) -> str:
    """A carrier's name in a trace."""
    return f"{'toolsvc' if c.closer else 'runner'} {c.fence}"


def _kind(commit: Commit) -> str:
    if commit.ends:
        return "finish"
    return "commit" if commit.steps else "events"
