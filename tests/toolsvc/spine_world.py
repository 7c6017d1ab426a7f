"""What the machine of the spine is made of: threads, runs, writers; and how stores are compared."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.bus.append import Entry
from shared.bus.events import read_all_after
from shared.chain import BEGINNING, digest_of, linked
from shared.protocol import record as wire
from shared.protocol.position import START, Position
from tests.model.carrier import who
from tests.model.state import (
    END,
    RESUMED,
    RUN_STARTED,
    TEXT,
    Carrier,
    Commit,
    Faults,
    Row,
    Run,
    State,
    Status,
    entry,
    joined,
    row_of,
)
from tests.toolsvc.record_rig import RecordRig

TYPES = {RUN_STARTED: "RUN_STARTED", RESUMED: "CUSTOM", TEXT: "RAW"}
TYPES[END] = "RUN_FINISHED"
_THREAD = text("""
    SELECT threads.*, (SELECT count(*) FROM steps JOIN runs ON runs.id = steps.run_id
        WHERE runs.thread_id = threads.id) AS steps
    FROM threads WHERE id = :thread
""")
_RUNS = text("SELECT * FROM runs WHERE thread_id = :thread ORDER BY turn")
_EVENTS = text("SELECT * FROM events WHERE thread_id = :thread ORDER BY fence, seq")


class _Named:
    """What a story calls by name; hypothesis would show all its fields."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


class World:
    """Real stores and an event loop, for as many examples as there are."""

    def __init__(self, runner: asyncio.Runner, rig: RecordRig) -> None:
        self._runner, self.rig = runner, rig

    def do(self, coroutine: Any) -> Any:
        """Wait for something."""
        return self._runner.run(coroutine)

    async def empty(self) -> None:
        """Nothing is left of the example before."""
        tables = "effects, steps, spans, events, messages, runs, threads, runners, users"
        await self.rig.sql(f"TRUNCATE {tables} CASCADE")
        await self.rig.redis.flushall()


@dataclass(repr=False)
class Queued(_Named):
    """A run as its people and runners know it; the rest of it is in the model."""

    id: UUID
    thread: "Thread"
    number: int
    agent: str
    turn: int
    owner: str | None = None
    #: Whether it was claimed more than a lease's life ago.
    old: bool = False
    #: Whether toolsvc has ended it in its runner's place.
    closed: bool = False

    def __repr__(self) -> str:
        return f"run {self.number + 1}"

    @property
    def row(self) -> Run:
        return self.thread.state.runs[self.number]


@dataclass(repr=False)
class Thread(_Named):
    """A thread: what it is in the stores, and what the model says of it."""

    id: UUID
    state: State = field(default_factory=lambda: State(Faults(), ()))
    runs: list[Queued] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"a thread with {self.runs}"


@dataclass(repr=False)
class Writer(_Named):
    """Somebody with a claim: honest, or a zombie."""

    run: Queued
    carrier: Carrier
    sent: Commit | None = None
    starts: list[wire.ForeignRow] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"{who(self.carrier)} of {self.run}"


async def compare(db: AsyncConnection, redis: Redis, thread: Thread) -> None:
    """Both stores hold of a thread what the model says, and the rows are sound in themselves."""
    s, which = thread.state, {"thread": thread.id}
    row = (await db.execute(_THREAD, which)).one()
    assert (row.fence, row.settled, row.steps) == (s.fence, s.settled, s.journal)
    assert Position(row.last_fence, row.last_seq) == s.last
    runs = (await db.execute(_RUNS, which)).all()
    assert [(one.id, one.status, one.fence or 0, one.commits) for one in runs] == [
        (run.id, *_columns(run)) for run in thread.runs
    ]
    running = [(one.id, one.runner_id) for one in runs if one.status == "running"]
    assert running == [
        (run.id, run.owner) for run in thread.runs if run.row.status is Status.RUNNING
    ]
    events = (await db.execute(_EVENTS, which)).all()
    _compare_events(s, events, row.chain)
    stream = await read_all_after(redis, thread.id, START)
    assert [(one.at, one.type) for one in stream] == [(one.at, TYPES[one.type]) for one in s.stream]


def _compare_events(s: State, events: Sequence[Any], chain: bytes | None) -> None:
    assert [(one.fence, one.seq, one.seq_to, one.type) for one in events] == [
        (row.fence, row.seq, row.seq_to, TYPES[row.type]) for row in s.rows
    ]
    assert [one.data for one in events if one.type == TYPES[TEXT]] == [
        content(row)[1] for row in s.rows if row.type == TEXT
    ]
    last = BEGINNING
    for one in events:
        assert (one.hash is not None) == (one.fence <= s.settled), "enters the chain settled"
        if one.hash is not None:
            assert one.digest == digest_of(one.salt, one.data)
            last = linked(last, f"{one.fence}-{one.seq}", one.seq_to, one.type, one.digest)
            assert one.hash == last, "the chain goes through the rows in id order"
    assert chain in ((None, last) if last == BEGINNING else (last,))
    for before, row in zip(s.rows, s.rows[1:], strict=False):
        assert row.at.seq == (1 if row.fence > before.fence else before.seq_to + 1)
        assert before.type != END or row.type == RUN_STARTED, "nothing follows an end"


def _columns(run: Queued) -> tuple[str, int, int]:
    ended = "cancelled" if run.closed else "finished"
    status = {Status.QUEUED: "queued", Status.RUNNING: "running", Status.ENDED: ended}
    return status[run.row.status], run.row.fence, run.row.commits


def said(c: Carrier, low: int, words: int) -> tuple[Row, ...]:
    """One row of so many deltas."""
    low = max(low, 2)
    rows = [row_of(entry(c.fence, seq, TEXT, c.run + 1)) for seq in range(low, low + words)]
    return (joined(tuple(rows)),) if rows else ()


def content(row: Row) -> tuple[str, str]:
    """Type and data of a row that says something."""
    return TYPES[row.type], _data(row.type, row.data)


def real(one: Entry) -> Entry:
    return Entry(one.at, TYPES[one.type], "run", _data(one.type, one.data))


def _data(type_: str, said: str) -> str:
    return orjson.dumps({"type": TYPES[type_], "said": said}).decode()
