"""Rules of the relay, without I/O: what follows a cursor, what is a gap, how gaps are filled.

Whatever is not the next seq of the cursor's
fence is a gap, and so is every change of fence. Of fences below `settled` SQL alone counts; of the
settled one, stream and SQL together; nothing is shown of a higher one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.bus.append import Entry
from shared.bus.events import Announcement
from shared.protocol.position import Position


class Shown(NamedTuple):
    """An event as it goes to a client: under this position, with this JSON text."""

    at: Position
    data: str


class SqlRow(NamedTuple):
    """A stored row: one event, or joined deltas `seq` to `seq_to`."""

    fence: int
    seq: int
    seq_to: int
    data: str

    @property
    def end(self) -> Position:
        """The position under which the row goes out."""
        return Position(self.fence, self.seq_to)


@dataclass(frozen=True, slots=True)
class Fill:
    """What follows a cursor.

    `inside` says that the cursor lies inside a joined row, whose rest nobody has one by one, or
    inside what retention has deleted: the listener has to begin anew;
    `partly` that more of such a row is wanted than the page of the stream held.
    """

    shown: list[Shown]
    inside: bool = False
    partly: bool = False


def follows(cursor: Position, news: Announcement) -> int | None:
    """Index of the first event in a message that comes next after a cursor; `None` for a gap.

    The number of events means that there is nothing new in it.
    """
    count = len(news.events)
    last = Position(news.first.fence, news.first.seq + count - 1)
    if last <= cursor or not news.settled:
        # What is not settled shows later as a gap, when its claimant has committed the tail.
        return count
    if news.first.fence == cursor.fence:
        index = cursor.seq + 1 - news.first.seq
        return index if index >= 0 else None
    # RUN_STARTED names the id before it, so that a new run needs no query.
    return 0 if news.first.seq == 1 and news.before == cursor else None


def fill(
    cursor: Position,
    entries: Sequence[Entry],
    rows: Sequence[SqlRow],
    *,
    settled: int,
    rows_complete: bool,
) -> Fill:
    """Merge stream and SQL (read in this order) into what follows `cursor`, in id order.

    `rows_complete` says that SQL has no further rows. Where the stream has all of a joined row's
    events they go out one by one, so that a resend has the ids of the first sending.
    """
    by_id = {entry.at: entry.data for entry in entries}
    shown: list[Shown] = []
    at = cursor
    for row in rows:
        if row.end <= at or row.fence > settled:
            continue
        first = max(at.seq + 1, row.seq) if row.fence == at.fence else row.seq
        parts = _parts(by_id, row.fence, first, row.seq_to)
        if parts is None and first > row.seq:
            rest = _run_on(by_id, Position(row.fence, first - 1))
            return Fill(shown + rest, inside=not rest, partly=bool(rest))
        shown += parts or [Shown(row.end, row.data)]
        at = row.end
    if rows_complete and at.fence == settled:
        shown += _run_on(by_id, at)
    return Fill(shown)


def _parts(by_id: dict[Position, str], fence: int, first: int, last: int) -> list[Shown] | None:
    """The events `first` to `last` from the stream; `None` if one is missing."""
    found = []
    for seq in range(first, last + 1):
        at = Position(fence, seq)
        data = by_id.get(at)
        if data is None:
            return None
        found.append(Shown(at, data))
    return found


def _run_on(by_id: dict[Position, str], at: Position) -> list[Shown]:
    """What the stream has beyond SQL, under the settled fence and without a gap."""
    found: list[Shown] = []
    while True:
        at = Position(at.fence, at.seq + 1)
        data = by_id.get(at)
        if data is None:
            return found
        found.append(Shown(at, data))
