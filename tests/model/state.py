"""What the model of the spine remembers: one thread, one or two runs, everything that can go wrong.

States are tuples, so that they can be compared and kept in a set. Nothing has a time: a frozen
process is one that does nothing for a while, and a lease ends by an action of its own. An event's
content says which it is (`1-2 text 1`: seq 2 of fence 1, of run 1), so that a client's record can
be checked word by word; joined deltas are one row whose words stand side by side.
"""

from enum import IntEnum
from functools import cache
from typing import NamedTuple

from shared.bus.append import Entry, Mode
from shared.bus.events import Announcement
from shared.protocol.position import START, Position

RUN_STARTED, RESUMED, TEXT, END = "start", "resumed", "text", "end"


class Status(IntEnum):
    """Of a run, as `runs.status` has it."""

    QUEUED = 0
    RUNNING = 1
    ENDED = 2


class Faults(NamedTuple):
    """How often each may still happen; a search is finite because these are."""

    crash: int = 0  #: a runner or a closing toolsvc dies
    freeze: int = 0  #: it sleeps for longer than its lease, and may go on at any later time
    hand_over: int = 0  #: a runner gives the run away between two steps
    flush: int = 0  #: Redis loses everything
    lose: int = 0  #: a failover loses the newest entries
    unheard: int = 0  #: a published message does not arrive
    unanswered: int = 0  #: something is done, and whoever asked does not learn it
    cancel: int = 0  #: a person wants the last run to stop
    reconnect: int = 0  #: the client comes back with its cursor


class Row(NamedTuple):
    """A row of the table `events`."""

    fence: int
    seq: int
    seq_to: int
    data: str
    type: str
    run: int

    @property
    def at(self) -> Position:
        """Where it begins."""
        return Position(self.fence, self.seq)

    @property
    def end(self) -> Position:
        """Where it ends."""
        return Position(self.fence, self.seq_to)


class Commit(NamedTuple):
    """A commit as it is sent, and sent again; it is its own digest."""

    n: int
    rows: tuple[Row, ...]
    tail: tuple[Row, ...] | None = None
    steps: int = 0
    ends: bool = False


class Run(NamedTuple):
    """A row of the table `runs`."""

    status: Status = Status.QUEUED
    fence: int = 0
    commits: int = 0
    digest: Commit | None = None
    leased: bool = False  #: whether whoever carries it is known to live
    cancelled: bool = False
    closing: bool = False  #: a toolsvc waits, and ends the run if its runner does not


class At(IntEnum):
    """How far a carrier has come."""

    START = 0  #: it has claimed, and appends its start rows
    TAIL = 1  #: nobody before it can write any more, so it reads what they left
    SETTLE = 2  #: it commits what they left
    WORK = 3  #: it carries out steps
    DONE = 4  #: SQL has the end; Redis perhaps not yet


class Carrier(NamedTuple):
    """Who has claimed a run: a runner, or toolsvc that closes it. Zombies are carriers too."""

    fence: int
    run: int
    sql_last: Position  #: the last id of settled fences when it claimed
    recorded: int  #: steps that it knows to be in the journal
    closer: bool = False
    at: At = At.START
    words: int = 0  #: said in the step under way
    last: int = 1  #: newest seq
    acked: int = 1  #: newest seq that Redis is known to have
    committed: int = 1  #: newest seq that SQL is known to have
    commits: int = 0
    mode: Mode = Mode.APPEND  #: of the next append
    asks: bool = False  #: the stream was empty, and SQL has not confirmed the fence yet
    tail: tuple[Row, ...] = ()
    repeats: Commit | None = None  #: a commit whose answer was lost


class Place(IntEnum):
    """How far a gateway has come with its listener."""

    AWAY = 0  #: nobody listens
    JOINED = 1  #: subscribed; the cursor is not settled
    READ = 2  #: something is missing: the stream is read first
    FILL = 3  #: and then SQL
    LIVE = 4  #: messages go through as they come


class Listener(NamedTuple):
    """A gateway's listener and the client behind it."""

    place: Place = Place.AWAY
    cursor: Position = START
    stale: bool = False  #: a message came while somebody was reading
    restart: bool = False  #: the cursor cannot be continued
    inbox: tuple[Announcement, ...] = ()
    entries: tuple[Entry, ...] = ()  #: read from the stream, while SQL is being asked
    seen: Position | None = None  #: SQL's last id at the look before
    base: Position | None = None  #: where the client's record begins
    record: tuple[str, ...] = ()  #: the events that the client has got, in this order


class State(NamedTuple):
    """The world."""

    faults: Faults
    runs: tuple[Run, ...]
    fence: int = 0
    settled: int = 0
    last: Position = START  #: the last row of the chain
    journal: int = 0  #: steps of the root run that SQL holds
    rows: tuple[Row, ...] = ()  #: in id order
    stream: tuple[Entry, ...] = ()
    carriers: tuple[Carrier, ...] = ()
    listener: Listener = Listener()


class Scene(NamedTuple):
    """What happens in a search, besides faults."""

    steps: tuple[int, ...] = (1,)  #: per run: how long the journal is at its end
    words: int = 1  #: deltas of a step; more than one are joined into one row
    client: bool = True
    forgetful: bool = False  #: writers keep committed events no longer than they must
    partly: bool = False  #: events are committed also in the middle of a step


class Step(NamedTuple):
    """One thing that happens: an action of `code.CODE`, by whom, with what; what comes of it."""

    action: str
    who: str
    what: str | tuple[Entry | Row, ...]
    state: State
    fault: bool = False


@cache
def entry(fence: int, seq: int, type_: str, run: int) -> Entry:
    """An event."""
    return Entry(Position(fence, seq), type_, str(run), f"{fence}-{seq} {type_} {run}")


@cache
def row_of(one: Entry) -> Row:
    """An event that was not joined with others, as SQL stores it."""
    return Row(*one.at, one.at.seq, one.data, one.type, int(one.run))


@cache
def entry_of(row: Row) -> Entry:
    """The other way round."""
    return Entry(row.at, row.type, str(row.run), row.data)


@cache
def joined(rows: tuple[Row, ...]) -> Row:
    """Adjacent deltas as one row."""
    first, last = rows[0], rows[-1]
    data = " + ".join(row.data for row in rows)
    return Row(first.fence, first.seq, last.seq_to, data, first.type, first.run)


@cache
def words_of(data: str) -> tuple[str, ...]:
    """The events in a row's data."""
    return tuple(data.split(" + "))


class Word(NamedTuple):
    """An event as its content tells of it."""

    at: Position
    type: str
    run: int


@cache
def parsed(word: str) -> Word:
    """What a word says of itself."""
    at, type_, run = word.split(" ")
    fence, seq = at.split("-")
    return Word(Position(int(fence), int(seq)), type_, int(run))
