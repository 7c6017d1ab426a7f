"""Judges what a client was sent against what SQL holds: each event once, in order, unchanged."""

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from drill.evidence import EventRow, ThreadRow
from drill.records import Restated, Seen, Watched
from drill.verdict import Violation, Wrong
from shared.protocol.position import START, Position


def judge_stream(watched: Watched, thread: ThreadRow | None, *, whole: bool) -> list[Violation]:
    """Every violation in one client's events; `whole` where the client has seen all runs end."""
    rows = thread.rows if thread else ()
    reading = _Reading(watched=watched, rows=rows)
    for frame in watched.frames:
        reading.take(frame)
    if whole:
        reading.end()
    return reading.found


def told_by_reset(watched: Watched, rows: Sequence[EventRow]) -> set[str]:
    """Runs whose end lies in what a `reset` jumped over: the messages told of them."""
    cursor, told = START, set[str]()
    for frame in watched.frames:
        if isinstance(frame, Restated):
            told |= {
                row.run
                for row in rows
                if cursor < _last(row) <= frame.cursor and is_end(row.row.type)
            }
            cursor = frame.cursor
        else:
            cursor = max(cursor, frame.position)
    return told


def is_end(kind: str) -> bool:
    """Whether an event of this type ends its run."""
    return kind in {"RUN_FINISHED", "RUN_ERROR"}


@dataclass(slots=True, kw_only=True)
class _Reading:
    """Goes through a client's frames, beside SQL's rows."""

    watched: Watched
    rows: Sequence[EventRow]
    found: list[Violation] = field(default_factory=list)
    cursor: Position = START
    next: int = 0  #: the first row that the client does not have as a whole
    pieces: str = ""  #: of the deltas of that row, what came so far
    seen: set[Position] = field(default_factory=set)

    def take(self, frame: Seen | Restated) -> None:
        if isinstance(frame, Restated):
            self._restate(frame.cursor)
        elif frame.position <= self.cursor:
            kind = Wrong.DOUBLED if frame.position in self.seen else Wrong.REORDERED
            self._wrong(kind, f"{frame.position} came after {self.cursor}", frame.at)
        else:
            self._event(frame)
            self.cursor = frame.position
            self.seen.add(frame.position)

    def end(self) -> None:
        """The client has seen everything: nothing may be left."""
        for row in self.rows[self.next :]:
            self._wrong(Wrong.MISSING, f"{_first(row)} {row.row.type} never came")

    def _restate(self, cursor: Position) -> None:
        self.cursor = cursor
        self.seen = {one for one in self.seen if one <= cursor}
        self.next = bisect_left(self.rows, (cursor.fence, cursor.seq + 1), key=_last)
        self.pieces = ""

    def _event(self, frame: Seen) -> None:
        at = frame.position
        index = bisect_left(self.rows, at, key=_last)
        row = self.rows[index] if index < len(self.rows) else None
        if row is None or at < _first(row):
            self._wrong(Wrong.CHANGED, f"{at} {frame.event['type']} is not stored", frame.at)
            return
        for missed in self.rows[self.next : index]:
            self._wrong(Wrong.MISSING, f"{_first(missed)} {missed.row.type}", frame.at)
        if index > self.next:
            self.pieces = ""
        if row.row.seq == row.row.seq_to:
            self._single(frame, row)
        else:
            self._delta(frame, row)
        self.next = index + (at == _last(row))
        if at == _last(row):
            self.pieces = ""

    def _single(self, frame: Seen, row: EventRow) -> None:
        if json.loads(row.row.data) != frame.event:
            self._wrong(Wrong.CHANGED, f"{frame.position} {row.row.type}", frame.at)

    def _delta(self, frame: Seen, row: EventRow) -> None:
        """One of several deltas that SQL keeps as one row, or all of them at once."""
        stored = json.loads(row.row.data)
        delta = str(frame.event.get("delta", ""))
        rest = {name: value for name, value in frame.event.items() if name != "delta"}
        if rest != {name: value for name, value in stored.items() if name != "delta"}:
            self._wrong(Wrong.CHANGED, f"{frame.position} {row.row.type}", frame.at)
            return
        inside = self.cursor >= _first(row)
        before = self.cursor.seq if inside else row.row.seq - 1
        whole = delta == stored["delta"] and frame.position == _last(row) and not inside
        if frame.position.seq != before + 1 and not whole:
            missed = f"{frame.position.fence}-{before + 1} to {frame.position}"
            self._wrong(Wrong.MISSING, f"{missed}, {row.row.type}", frame.at)
            self.pieces = stored["delta"]  # said once is enough
            return
        self.pieces += delta
        fits = stored["delta"] == self.pieces or (
            frame.position < _last(row) and stored["delta"].startswith(self.pieces)
        )
        if not fits:
            self._wrong(Wrong.CHANGED, f"text up to {frame.position}", frame.at)
            self.pieces = stored["delta"]

    def _wrong(self, kind: Wrong, what: str, at: float | None = None) -> None:
        self.found.append(Violation(kind=kind, where=self.watched.thread, what=what, at=at))


def _first(row: EventRow) -> Position:
    return Position(row.row.fence, row.row.seq)


def _last(row: EventRow) -> Position:
    return Position(row.row.fence, row.row.seq_to)


def shown_answers(watched: Watched) -> Iterator[tuple[str, str]]:
    """Each run that a client saw whole, and the last text it was left with."""
    run, texts, last_at = None, dict[str, str](), START
    for frame in watched.frames:
        if isinstance(frame, Restated):
            run, texts, last_at = None, {}, frame.cursor
            continue
        if frame.position <= last_at:
            continue
        last_at = frame.position
        event = frame.event
        match event["type"]:
            case "RUN_STARTED":
                run, texts = event["runId"], {}
            case "TEXT_MESSAGE_CHUNK":
                id_ = event["messageId"]
                texts[id_] = texts.get(id_, "") + event.get("delta", "")
            case "MESSAGES_SNAPSHOT":
                kept = {one["id"]: one for one in event["messages"]}
                texts = {id_: str(kept[id_].get("content") or "") for id_ in texts if id_ in kept}
            case "RUN_FINISHED" if run is not None:
                yield run, next(reversed(texts.values()), "")
                run = None
            case _:
                pass
