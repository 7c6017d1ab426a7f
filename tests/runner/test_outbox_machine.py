"""The outbox against SQL and a Redis that loses whatever it likes, in any order of what happens."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runner import outbox as module
from shared.bus.append import Answer, Batch, Entry, Mode
from shared.protocol.position import Position
from shared.protocol.record import Row
from tests.runner.test_outbox import FENCE, STARTS, THREAD, other, outbox, say, texts
from tests.shared.append_model import StreamModel


class OutboxAndStream(RuleBasedStateMachine):
    """An outbox, SQL, and a Redis that loses replies, its tail, or everything."""

    def __init__(self) -> None:
        super().__init__()
        self.box, _ = outbox()
        self.stream = StreamModel()
        self.stream.append(self.box_start())
        self.said: list[tuple[str, str]] = []
        self.sql: list[Row] = []
        self.taken: dict[int, str] = {}
        self.ended = self.released = False

    def box_start(self) -> Batch:
        entries = [Entry(Position(r.fence, r.seq), r.type, "r", r.data) for r in STARTS]
        return Batch(THREAD, FENCE, entries, Mode.CREATE)

    @precondition(lambda self: not self.ended)
    @rule(text=st.text("xyé\n", min_size=1, max_size=3), message=st.sampled_from("ab"))
    def say(self, text: str, message: str) -> None:
        say(self.box, text, message)
        self.said.append((message, text))

    @precondition(lambda self: not self.ended)
    @rule(size=st.integers(0, 300))
    def emit(self, size: int) -> None:
        self.box.emit(other("n" * size))
        self.said.append(("", "CUSTOM"))

    @precondition(lambda self: self.box.unsent)
    @rule(reply_lost=st.booleans())
    def send(self, reply_lost: bool) -> None:
        batch = self.box.take()
        for entry in batch.entries:
            if entry.at.fence == FENCE and entry.at.seq > 1:
                assert self.taken.setdefault(entry.at.seq, entry.data) == entry.data
        reply = self.stream.append(batch)
        if reply_lost:
            self.box.unanswered(batch)
        elif reply.answer is Answer.EMPTY:
            self.box.refill()
        else:
            assert not self.box.is_foreign(reply)
            self.box.answered(reply)

    @rule(keep=st.integers(0, 6))
    def lose(self, keep: int) -> None:
        del self.stream.entries[keep:]

    @rule()
    def commit(self) -> None:
        rows = self.box.uncommitted(ending=self.ended)
        if rows:
            expected = self.sql[-1].seq_to + 1 if self.sql else 2
            for row in rows:
                assert row.seq == expected
                expected = row.seq_to + 1
            self.sql += rows
            self.box.committed(rows[-1].seq_to)
        if self.ended and not self.released:
            self.box.release()
            self.released = True

    @precondition(lambda self: not self.ended)
    @rule()
    def end(self) -> None:
        self.box.hold_back({"type": "RUN_FINISHED"})
        self.said.append(("", "RUN_FINISHED"))
        self.ended = True

    @invariant()
    def the_stream_holds_only_what_was_made_and_nothing_before_its_time(self) -> None:
        for entry in self.stream.entries:
            if entry.at.fence == FENCE and entry.at.seq > 1:
                assert self.taken[entry.at.seq] == entry.data
            assert self.released or entry.type != "RUN_FINISHED"

    def teardown(self) -> None:
        """Redis is well again: in the end SQL has all, and the stream all that was still kept."""
        self.commit()
        assert _flat(texts(self.sql)) == _flat(self.said)
        for _ in range(1000):
            if not self.box.unsent:
                break
            self.send(reply_lost=False)
        assert not self.box.unsent
        self.stream.entries.clear()
        self.box.refill()
        while self.box.unsent:
            self.send(reply_lost=False)
        kept = range(self.box._kept_from, self.box.last + 1)
        ours = [entry.at.seq for entry in self.stream.entries if entry.at.fence == FENCE]
        assert ours == [1, *kept]


def _flat(pieces: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Adjacent deltas of one message joined, as in SQL or finer."""
    found: list[tuple[str, str]] = []
    for message, text in pieces:
        if message and found and found[-1][0] == message:
            found[-1] = (message, found[-1][1] + text)
        else:
            found.append((message, text))
    return found


OutboxAndStream.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestOutboxAndStream = OutboxAndStream.TestCase


class SmallOutboxAndStream(OutboxAndStream):
    """The same with almost no memory, so that events are dropped all the time."""

    def __init__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(module, "KEEP_BYTES", 500)
        super().__init__()

    def teardown(self) -> None:
        super().teardown()
        self._patch.undo()


SmallOutboxAndStream.TestCase.settings = OutboxAndStream.TestCase.settings
TestSmallOutboxAndStream = SmallOutboxAndStream.TestCase
