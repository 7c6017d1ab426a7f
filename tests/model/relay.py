"""A gateway's listener and the client behind it.

Which message follows a cursor and how a gap is filled is not told again: `gateway.relay.feed` is
asked itself. What is told here is the order in which stream, SQL and messages are read.
"""

from collections.abc import Iterator
from functools import lru_cache

from gateway.relay.feed import Fill, Shown, SqlRow, fill, follows
from shared.bus.append import Entry
from shared.bus.events import Announcement
from shared.protocol.position import START, Position
from tests.model.carrier import Carriers
from tests.model.search import Violation
from tests.model.state import (
    END,
    RUN_STARTED,
    Listener,
    Place,
    Row,
    State,
    Status,
    Step,
    parsed,
    words_of,
)


class Relay(Carriers):
    """One gateway with one client."""

    def relays(self, s: State) -> Iterator[Step]:
        """What gateway and client may do next."""
        one = s.listener
        if one.inbox:
            yield self._hear(s, one)
        match one.place:
            case Place.AWAY:
                joined = one._replace(place=Place.JOINED, inbox=(), stale=False, seen=None)
                yield Step("subscribe", "client", f"after {one.cursor}", _put(s, joined))
            case Place.JOINED:
                yield self._place(s, one)
            case Place.READ:
                entries = tuple(entry for entry in s.stream if entry.at > one.cursor)
                read = one._replace(place=Place.FILL, entries=entries, stale=False)
                yield Step("read", "gateway", entries, _put(s, read))
            case Place.FILL:
                yield self._fill(s, one)
            case Place.LIVE:
                yield from self.look(s, one)

    # ------------------------------------------------------------------ a place to begin
    def _place(self, s: State, one: Listener) -> Step:
        if one.base is not None and not one.restart and self.continues(s, one):
            placed = one._replace(place=Place.READ)
            return Step("place", "gateway", f"at {one.cursor}", _put(s, placed))
        cursor = self.beginning(s)
        placed = Listener(Place.READ, cursor, inbox=one.inbox, seen=one.seen, base=cursor)
        return Step("reset", "gateway", f"to {cursor}", _put(s, placed))

    def beginning(self, s: State) -> Position:
        """Where a reset goes on from: just before the start of the run that is carried."""
        for number, run in enumerate(s.runs, start=1):
            if run.status is Status.RUNNING:
                return Position(min(row.fence for row in s.rows if row.run == number), 0)
        return s.last

    def continues(self, s: State, one: Listener) -> bool:
        """Whether a cursor is the newest, or the stream still has its event."""
        if one.cursor == s.last:
            return True
        before = Position(one.cursor.fence, max(one.cursor.seq - 1, 0))
        oldest = next((entry.at for entry in s.stream if entry.at > before), None)
        if one.cursor == START:
            return oldest == Position(1, 1)
        return oldest in (one.cursor, Position(one.cursor.fence, one.cursor.seq + 1))

    # ------------------------------------------------------------------ messages
    def _hear(self, s: State, one: Listener) -> Step:
        news, *later = one.inbox
        said = f"{news.first} and {len(news.events) - 1} more"
        one = one._replace(inbox=tuple(later))
        if one.place is not Place.LIVE:
            return Step(
                "hear", "gateway", f"{said}, while reading", _put(s, one._replace(stale=True))
            )
        first = self.follows(one.cursor, news)
        if first is None:
            return Step(
                "hear", "gateway", f"{said}: a gap", _put(s, one._replace(place=Place.READ))
            )
        shown = [
            Shown(Position(news.first.fence, news.first.seq + index), news.events[index].decode())
            for index in range(first, len(news.events))
        ]
        return Step("hear", "gateway", said, _put(s, self.show(one, shown)))

    def look(self, s: State, one: Listener) -> Iterator[Step]:
        """Every two seconds: what SQL had at the look before, the client has, or it is a gap."""
        behind = one.seen is not None and one.cursor < one.seen
        if behind or one.seen != s.last:
            looked = one._replace(seen=s.last, place=Place.READ if behind else one.place)
            yield Step("look", "gateway", f"sees {s.last}", _put(s, looked))

    # ------------------------------------------------------------------ gaps
    def _fill(self, s: State, one: Listener) -> Step:
        found = self.fill(one.cursor, one.entries, s.rows, s.settled)
        after = self.show(one._replace(entries=()), found.shown)
        progress = after.cursor != one.cursor
        if found.inside:
            after = after._replace(place=Place.JOINED, restart=True)
        elif after.stale or (found.partly and progress):
            after = after._replace(place=Place.READ)
        else:
            after = after._replace(place=Place.LIVE)
        told = ", ".join(shown.data for shown in found.shown) or "nothing"
        return Step("fill", "gateway", told, _put(s, after))

    def follows(self, cursor: Position, news: Announcement) -> int | None:
        """The real rule."""
        return follows(cursor, news)

    def fill(
        self, cursor: Position, entries: tuple[Entry, ...], rows: tuple[Row, ...], settled: int
    ) -> Fill:
        """The real rule, over all rows that the gateway may see."""
        return _fill(cursor, entries, rows, settled)

    # ------------------------------------------------------------------ the client
    def show(self, one: Listener, events: list[Shown]) -> Listener:
        """Deliver what lies after the cursor; the client keeps a record, and believes nothing."""
        for at, data in events:
            if self.known(one, at):
                continue
            if at <= one.cursor:
                raise Violation(f"the client gets {data} although it has come to {one.cursor}")
            for word in words_of(data):
                self._keep(one.record, word)
                one = one._replace(record=(*one.record, word))
            one = one._replace(cursor=at)
        return one

    def known(self, one: Listener, at: Position) -> bool:
        """Whether the client has come past a position."""
        return at <= one.cursor

    def _keep(self, record: tuple[str, ...], word: str) -> None:
        new = parsed(word)
        of_run = [parsed(one) for one in record if parsed(one).run == new.run]
        if word in record:
            raise Violation(f"the client gets {word} twice")
        if any(one.type == END for one in of_run):
            raise Violation(f"the client gets {word} after the end of run {new.run}")
        if (new.type == RUN_STARTED) == bool(of_run):
            raise Violation(f"the client gets {word}: the start is not the first, or not the only")


@lru_cache(maxsize=1 << 16)
def _fill(
    cursor: Position, entries: tuple[Entry, ...], rows: tuple[Row, ...], settled: int
) -> Fill:
    after = [SqlRow(*row[:4]) for row in rows if row.fence <= settled and row.end > cursor]
    return fill(cursor, entries, after, settled=settled, rows_complete=True)


def _put(s: State, one: Listener) -> State:
    return s._replace(listener=one)
