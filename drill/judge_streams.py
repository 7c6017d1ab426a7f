"""Judges what a client was sent against what SQL holds: each event once, in order, unchanged."""

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from drill.evidence import EventRow, ThreadRow
from drill.plan import FaultKind
from drill.records import Hit, Restated, Seen, Watched
from drill.verdict import Violation, Wrong
from shared.protocol.position import START, Position

#: Redis writes its file once a second: so much may be gone that was there when it was killed.
UNWRITTEN_S = 1.0

#: An event is with its client so long after it was sent, on a machine that has much to do.
UNSEEN_S = 1.0

_LOSE_REDIS = frozenset({FaultKind.KILL_VALKEY, FaultKind.FLUSH})
_LOSE_RUNNER = frozenset({FaultKind.KILL_RUNNER, FaultKind.STOP_RUNNER, FaultKind.POISON})


def judge_stream(
    watched: Watched, thread: ThreadRow | None, hits: Sequence[Hit] = (), *, whole: bool
) -> list[Violation]:
    """Every violation in one client's events; `whole` where the client has seen all runs end."""
    reading = _read(watched, thread, hits)
    if whole:
        reading.end()
    return reading.found


def lost_together(watched: Watched, thread: ThreadRow | None, hits: Sequence[Hit]) -> int:
    """How many events were shown and are gone because runner and Redis were lost at once.

    That is the one loss that is not promised away: such events were in no commit yet, and nobody
    is left who has them. The take-over withdraws what they showed and does the step anew.
    """
    return _read(watched, thread, hits).lost


def _read(watched: Watched, thread: ThreadRow | None, hits: Sequence[Hit]) -> "_Reading":
    reading = _Reading(watched=watched, rows=thread.rows if thread else (), hits=hits)
    for frame in watched.frames:
        reading.take(frame)
    return reading


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
    hits: Sequence[Hit]
    lost: int = 0
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
            if self._was_lost(frame):
                self.lost += 1
            else:
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

    def _was_lost(self, frame: Seen) -> bool:
        """Whether its runner and Redis were both lost before the next claim had read the rest."""
        fence, runs = frame.position.fence, {ask.run for ask in self.watched.asks}
        seen = [one for one in self.watched.frames if isinstance(one, Seen)]
        since = next(one.at for one in seen if one.position.fence == fence)
        until = next(
            (one.at for one in seen if one.position.fence > fence and one.at >= frame.at), None
        )
        if until is None:
            return False
        before = [hit for hit in self.hits if not hit.missed and hit.at <= until]
        redis = any(hit.kind in _LOSE_REDIS and hit.at >= frame.at - UNWRITTEN_S for hit in before)
        # A Redis that stood still shows, when it goes on, what a runner had sent that is dead now.
        return redis and any(
            hit.kind in _LOSE_RUNNER
            and (
                hit.at >= since - UNSEEN_S
                if hit.victims is None
                else any(one.fence == fence and one.run in runs for one in hit.victims)
            )
            for hit in before
        )

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
            case "RUN_STARTED" if event["runId"] != run:  # a second one takes nothing back
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
