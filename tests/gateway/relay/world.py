"""A thread in plain Python: writers, SQL, a stream that may lose anything, and one listener.

The writers fence and commit as runners do, and the stream is the model of append.lua. The listener
does nothing by itself: `follows` and `fill` decide. What it got is compared with SQL all along.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from gateway.relay.feed import Fill, SqlRow
from shared.bus.append import Answer, Batch, Entry, Mode
from shared.bus.events import Announcement
from shared.protocol.position import START, Position
from tests.shared.append_model import StreamModel

THREAD = UUID(int=1)
Follows = Callable[[Position, Announcement], int | None]


class Fills(Protocol):
    def __call__(
        self,
        cursor: Position,
        entries: Sequence[Entry],
        rows: Sequence[SqlRow],
        *,
        settled: int,
        rows_complete: bool,
    ) -> Fill: ...


def token(at: Position) -> str:
    return f"<{at}>"


def positions(text: str) -> list[Position]:
    return [Position(int(f), int(s)) for f, s in re.findall(r"<(\d+)-(\d+)>", text)]


def entry(at: Position) -> Entry:
    return Entry(at, "TEXT_MESSAGE_CHUNK", "run", token(at))


@dataclass
class Thread:
    """Claims, commits and appends of one thread, and what Redis loses of them."""

    forgets: bool = False  #: writers keep only what is not committed
    fence: int = 0
    settled: int = 0
    running: bool = False
    starts: list[int] = field(default_factory=list)  #: fences of the present run
    produced: int = 0
    committed: int = 0
    rows: list[SqlRow] = field(default_factory=list)  #: of settled fences
    stream: StreamModel = field(default_factory=StreamModel)
    lost: set[Position] = field(default_factory=set)

    @property
    def last(self) -> Position:
        return self.rows[-1].end if self.rows else START

    def stored(self) -> list[Position]:
        return positions("".join(row.data for row in self.rows))

    # ------------------------------------------------------------------ writers
    def claim(self) -> None:
        """The next run's first claim, or a take-over of the present one."""
        first, sql_last = not self.running, self.last
        self.fence += 1
        self.starts = [self.fence] if first else [*self.starts, self.fence]
        self.running, self.produced, self.committed = True, 1, 1
        if first:
            self._store([Position(self.fence, 1)])
            self.settled = self.fence
        start_rows = [entry(Position(fence, 1)) for fence in self.starts]
        self._append(start_rows, Mode.CREATE, sql_last)

    def settle(self) -> None:
        """A take-over's first commit: the tail under its old ids."""
        if self.settled == self.fence:
            return
        begun = {Position(fence, 1) for fence in self.starts}
        tail = [one.at for one in self.stream.entries if self.last < one.at < (self.fence, 1)]
        unhashed = {at for at in begun if at.fence > self.settled}
        self._store(sorted((set(tail) - begun) | unhashed))
        self.settled = self.fence

    def emit(self, count: int) -> None:
        """Events of a live step, appended."""
        if self.running:
            self.settle()
            self.produced += count
            self.send()

    def commit(self, cuts: int) -> None:
        """Store what is not stored yet; `cuts` says, bit by bit, where a joined row ends."""
        if not self.running:
            return
        self.settle()
        group: list[Position] = []
        for seq in range(self.committed + 1, self.produced + 1):
            group.append(Position(self.fence, seq))
            if cuts >> (seq % 8) & 1 or seq == self.produced:
                self._store(group, joined=True)
                group = []
        self.committed = self.produced

    def finish(self) -> None:
        """The terminal event: committed first, appended afterwards."""
        if self.running:
            self.settle()
            self.commit(0)
            self.produced += 1
            self.commit(0)
            self.running = False
            self.send()

    def send(self) -> None:
        """Append what the stream lacks, as the publisher does."""
        held = self.committed + 1 if self.forgets and self.committed < self.produced else 1
        have = self.produced - 1
        while have < self.produced:
            mode = Mode.APPEND if have + 1 >= held else Mode.FORCE
            reply = self._append(self._own(max(have + 1, held)), mode)
            have = self.stream.have(self.fence)
            if reply is Answer.EMPTY or have == 0:  # not even our start row is there
                starts = [entry(Position(fence, 1)) for fence in self.starts]
                self._append([*starts, *self._own(max(2, held))], Mode.CREATE)
                return

    def _own(self, first: int) -> list[Entry]:
        return [entry(Position(self.fence, seq)) for seq in range(first, self.produced + 1)]

    def _append(self, entries: list[Entry], mode: Mode, sql_last: Position | None = None) -> Answer:
        settled = self.settled == self.fence
        batch = Batch(THREAD, self.fence, entries, mode, settled=settled, sql_last=sql_last)
        return self.stream.append(batch).answer

    def _store(self, ats: list[Position], *, joined: bool = False) -> None:
        if joined:
            data = "".join(map(token, ats))
            self.rows.append(SqlRow(ats[0].fence, ats[0].seq, ats[-1].seq, data))
        else:
            self.rows += [SqlRow(at.fence, at.seq, at.seq, token(at)) for at in ats]

    # ------------------------------------------------------------------ Redis
    def lose(self, count: int) -> None:
        """The stream's newest entries vanish, as in a failover."""
        kept = max(len(self.stream.entries) - count, 0)
        self.lost |= {one.at for one in self.stream.entries[kept:]}
        del self.stream.entries[kept:]

    def trim(self, count: int) -> None:
        """The stream's oldest entries vanish."""
        self.lost |= {one.at for one in self.stream.entries[:count]}
        del self.stream.entries[:count]


@dataclass
class Listening:
    """What the relay does for one listener, as far as `follows` and `fill` leave it a choice."""

    thread: Thread
    follows: Follows
    fill: Fills
    page: int = 4
    cursor: Position = START
    base: Position = START
    live: bool = False
    stale: bool = False
    seen: Position = START
    read: tuple[list[Entry], bool] | None = None
    got: list[Position] = field(default_factory=list)
    resets: int = 0

    def hear(self, news: Announcement) -> None:
        if not self.live:
            self.stale = True
            return
        first = self.follows(self.cursor, news)
        if first is None:
            self.live = False
            return
        for index, data in list(enumerate(news.events))[first:]:
            self._deliver(Position(news.first.fence, news.first.seq + index), data.decode())

    def look(self) -> None:
        if self.live and self.cursor < self.seen:
            self.live = False
        self.seen = self.thread.last

    def read_stream(self) -> None:
        if not self.live:
            after = [one for one in self.thread.stream.entries if one.at > self.cursor]
            self.stale = False
            self.read = after[: self.page], len(after) < self.page

    def read_sql(self) -> None:
        if self.read is None:
            return
        (entries, all_entries), self.read = self.read, None
        after = [row for row in self.thread.rows if row.end > self.cursor][: self.page]
        all_rows, before = len(after) < self.page, self.cursor
        found = self.fill(
            self.cursor, entries, after, settled=self.thread.settled, rows_complete=all_rows
        )
        for at, data in found.shown:
            self._deliver(at, data)
        complete = all_entries and all_rows and not found.partly
        if found.inside:
            self._reset()
        else:
            self.live = not self.stale and (complete or self.cursor == before)

    def read_both(self) -> None:
        self.read_stream()
        self.read_sql()

    def _reset(self) -> None:
        self.resets += 1
        self.got = []
        self.base = self.thread.last
        if self.thread.running:
            self.base = Position(self.thread.starts[0], 0)
        self.cursor = self.base

    def _deliver(self, at: Position, data: str) -> None:
        brought = positions(data)
        assert at > self.cursor, f"{at} came again at {self.cursor}"
        assert at.fence <= self.thread.settled, f"{at} is not settled"
        assert brought[-1] == at, f"{at} brought {data}"
        self.got += brought
        assert self.got == sorted(set(self.got)), f"{at} came out of order"
        self.cursor = at
        self.check()

    def check(self) -> None:
        """What SQL holds between base and cursor was delivered; what it lacks, Redis has lost."""
        got = set(self.got)
        skipped = [
            at for at in self.thread.stored() if self.base < at <= self.cursor and at not in got
        ]
        assert not skipped, f"skipped {skipped}"

    def check_end(self) -> None:
        stored = [at for at in self.thread.stored() if at > self.base]
        ghosts = set(self.got) - set(stored)
        assert [at for at in self.got if at not in ghosts] == stored
        assert ghosts <= self.thread.lost, f"never stored, never lost: {ghosts}"
