"""A run's events under one fence, in order, from the moment they are made: pure bookkeeping.

Seqs are given here. The pump sends what Redis lacks, commits take what SQL lacks; each goes at its
own pace. A delta joins the newest entry while nobody has taken that entry yet.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import orjson

from shared.bus.append import Answer, Batch, Entry, Mode, Reply
from shared.protocol.brackets import Brackets
from shared.protocol.position import Position
from shared.protocol.record import ForeignRow, Row

#: Further deltas of a message wait this long for company; the first one and all else goes at once.
DELTA_WINDOW_S = 0.02
#: One append: enough to be cheap, small enough not to hold up Redis.
BATCH_EVENTS = 64
#: What a writer keeps in memory for a Redis that loses its data; beyond, committed events go.
KEEP_BYTES = 8 * 1_048_576


class _Item:
    """One event; of a delta only `text` grows, between the same two pieces of JSON."""

    __slots__ = ("data", "prefix", "seq", "text", "type")

    def __init__(self, seq: int, type_: str, prefix: str | None, text: str, data: str) -> None:
        self.seq, self.type, self.prefix, self.text, self.data = seq, type_, prefix, text, data

    def json(self) -> str:
        """The event as JSON text."""
        return self.data if self.prefix is None else _joined(self.prefix, self.text)


def _size(item: _Item) -> int:
    """Roughly what an event takes, in bytes."""
    return len(item.text) + len(item.data) + 200


def _joined(prefix: str, text: str) -> str:
    return f"{prefix}{orjson.dumps(text).decode()}}}"


def delta_prefix(event: dict[str, Any]) -> str:
    """The JSON of an event up to its `delta`, which must come last."""
    return orjson.dumps(event).decode()[:-1] + ',"delta":'


class Outbox:
    """The events of one claim; `starts` are the start rows of the run, the newest ours (seq 1)."""

    def __init__(
        self,
        *,
        thread: UUID,
        run_id: str,
        fence: int,
        starts: list[ForeignRow],
        ttl_s: int,
        changed: Callable[["Outbox"], None],
    ) -> None:
        self.thread, self.run_id, self.fence, self.starts = thread, run_id, fence, starts
        self.ttl_s = ttl_s
        self._changed = changed
        self._items: list[_Item] = []
        self._kept_from = 2  # seq of the first item
        self._next = 2
        self._sealed = 1  # newest seq that somebody has taken
        self._acked = 1  # newest seq that Redis is known to have
        self._doubtful = 1  # newest seq that it may have, for its answer was lost
        self._committed = 1
        self._limit: int | None = None  # the newest seq that may be published
        self._ended = False
        self._bytes = 0
        self._mode = Mode.APPEND
        self._last_prefix: str | None = None
        #: When the pump has to send, in monotonic seconds; `None` when there is nothing to send.
        self.due: float | None = None
        self.all_sent = asyncio.Event()
        #: Whether Redis refused the last append of this outbox.
        self.refused = False
        #: Set when the run is over here: whatever is still emitted goes nowhere.
        self.forgotten = False
        #: What this claim has opened and not closed.
        self.brackets = Brackets()

    # ------------------------------------------------------------------ the run
    @property
    def last(self) -> int:
        """The newest seq."""
        return self._next - 1

    def emit(self, event: dict[str, Any]) -> int:
        """Add an event that goes out at once; behind the terminal one it goes nowhere."""
        if self._ended:
            return self.last
        self.brackets.see(event)
        seq = self._add(event["type"], None, "", orjson.dumps(event).decode())
        self._last_prefix = None
        self._wake(0)
        return seq

    def delta(self, type_: str, prefix: str, text: str) -> None:
        """Add a delta; `prefix` (of `delta_prefix`) tells which message it continues."""
        if self._ended:
            return
        newest = self._items[-1] if self._items else None
        if newest is not None and newest.prefix == prefix and newest.seq > self._sealed:
            newest.text += text
            self._bytes += len(text)
            return
        first = self._last_prefix != prefix
        self._last_prefix = prefix
        self._add(type_, prefix, text, "")
        self._wake(0 if first else DELTA_WINDOW_S)

    def hold_back(self, event: dict[str, Any]) -> None:
        """Add the terminal event; it is published only after `release`, when SQL has it.

        A second one takes the place of the first, which SQL has refused and nobody has seen. What
        an author's tasks still say after it is not part of the run.
        """
        if self._limit is not None:
            self._bytes -= _size(self._items.pop())
            self._next -= 1
        self._ended, self._limit = True, self.last
        self._add(event["type"], None, "", orjson.dumps(event).decode())

    def release(self) -> None:
        """The terminal event is committed."""
        self._limit = None
        self._wake(0)

    def _add(self, type_: str, prefix: str | None, text: str, data: str) -> int:
        seq = self._next
        self._next += 1
        self._items.append(_Item(seq, type_, prefix, text, data))
        self._bytes += _size(self._items[-1])
        return seq

    def _wake(self, in_s: float) -> None:
        self.all_sent.clear()
        due = time.monotonic() + in_s
        if self.due is None or due < self.due:
            self.due = due
            self._changed(self)

    # ------------------------------------------------------------------ SQL
    def uncommitted(self, *, ending: bool) -> list[Row]:
        """Everything since the last commit, adjacent deltas of one message joined.

        A terminal event that is held back belongs to the commit that ends the run, and to no other.
        """
        rows: list[Row] = []
        index = self._committed + 1 - self._kept_from
        count = len(self._items) - (self._limit is not None and not ending)
        while index < count:
            item = self._items[index]
            to = index
            if item.prefix is not None:
                while to + 1 < count and self._items[to + 1].prefix == item.prefix:
                    to += 1
            if to == index:
                rows.append(Row(item.seq, item.seq, item.type, item.json()))
            else:
                text = "".join(one.text for one in self._items[index : to + 1])
                joined = _joined(item.prefix or "", text)
                rows.append(Row(item.seq, self._items[to].seq, item.type, joined))
            index = to + 1
        self._sealed = max(self._sealed, self.last)
        return rows

    def committed(self, seq: int) -> None:
        """SQL holds everything up to `seq`."""
        self._committed = max(self._committed, seq)
        self._forget()

    def _forget(self) -> None:
        """Past `KEEP_BYTES`, drop the oldest that SQL holds; Redis goes past what it lacks of them.

        The newest event stays, so that there is something to append after the gap.
        """
        count, most = 0, min(self._committed, self.last - 1) + 1 - self._kept_from
        while self._bytes > KEEP_BYTES and count < most:
            self._bytes -= _size(self._items[count])
            count += 1
        del self._items[:count]
        self._kept_from += count

    # ------------------------------------------------------------------ Redis
    @property
    def unsent(self) -> bool:
        """Whether there is something that Redis lacks and may have."""
        last = self.last if self._limit is None else self._limit
        return self._acked < last or self._mode is Mode.CREATE

    def take(self) -> Batch:
        """The next append."""
        self.due = None
        last = self.last if self._limit is None else self._limit
        if self._mode is Mode.CREATE:
            return self._refill(last)
        low = max(self._acked + 1, self._kept_from)
        high = min(last, low + BATCH_EVENTS - 1)
        self._sealed = max(self._sealed, high)
        return Batch(
            self.thread, self.fence, self._entries(low, high), self._mode, True, self.ttl_s
        )

    def _refill(self, last: int) -> Batch:
        starts = [
            Entry(Position(one.fence, one.seq), one.type, self.run_id, one.data)
            for one in self.starts
        ]
        high = min(last, self._kept_from + BATCH_EVENTS - 1)
        self._sealed = max(self._sealed, high)
        entries = starts + self._entries(self._kept_from, high)
        return Batch(self.thread, self.fence, entries, Mode.CREATE, True, self.ttl_s)

    def _entries(self, low: int, high: int) -> list[Entry]:
        items = self._items[low - self._kept_from : high + 1 - self._kept_from]
        return [
            Entry(Position(self.fence, item.seq), item.type, self.run_id, item.json())
            for item in items
        ]

    def unanswered(self, batch: Batch) -> None:
        """An append may have been carried out, or not."""
        self._doubtful = max(self._doubtful, batch.entries[-1].at.seq)

    def is_foreign(self, reply: Reply) -> bool:
        """Whether Redis has something under our fence that we cannot have written."""
        if reply.answer is not Answer.HAVE or self._mode is Mode.CREATE:
            return reply.seq > self.last
        return reply.seq > max(self._acked, self._doubtful)

    def answered(self, reply: Reply) -> None:
        """What Redis said to OK and HAVE; the other answers need SQL's word first."""
        self._mode = Mode.APPEND
        if reply.answer is Answer.OK:
            self._acked = max(self._acked, reply.seq)
        elif reply.answer is Answer.HAVE:
            self._acked = reply.seq
            if reply.seq + 1 < self._kept_from:
                self._mode = Mode.FORCE
            if reply.seq == 0:
                self._mode = Mode.CREATE  # not even our start row is there
        if not self.unsent:
            self.all_sent.set()
        elif self.due is None:
            self.due = time.monotonic()

    def refill(self) -> None:
        """The stream is gone, and SQL has confirmed our fence: write it anew."""
        self._mode = Mode.CREATE
        self._acked = 1
        self.due = None
        self._wake(0)
