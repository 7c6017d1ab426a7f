"""A relay on real stores, and a thread that is written by hand as runners and toolsvc would."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import event

from gateway.relay.listener import Listener
from gateway.relay.relay import Relay
from gateway.store.database import Database
from shared.bus.append import Answer, Batch, Entry, Mode, append
from shared.bus.connect import Redis, commands_client
from shared.db.direct import Direct
from shared.db.engine import engine
from shared.protocol.ids import uuid7
from shared.protocol.position import START, Position
from stack.credentials import Credentials
from stack.program import free_port
from stack.valkey import Valkey
from tests.gateway.rig import wait_until

PUBLIC_ID = "thr_1"


class Sink:
    """A client: takes what it is given; `read` says how many frames it has taken so far."""

    def __init__(self, *, room_for: int = 10**9) -> None:
        self.frames: list[str] = []
        self.room_for, self.buffered = room_for, 0
        self.reads = True  #: whether the client empties its buffer
        self.restarts: list[Listener] = []
        self.was_broken = False
        self._emptied = asyncio.Event()

    def room(self) -> bool:
        return self.buffered < self.room_for

    def send(self, frame: str) -> None:
        self.frames.append(frame)
        self.buffered += 1

    async def drained(self) -> None:
        while not self.reads:
            self._emptied.clear()
            await self._emptied.wait()
        self.buffered = 0

    def read(self) -> None:
        """From now on the client reads."""
        self.reads = True
        self._emptied.set()

    def restart(self, listener: Listener) -> None:
        self.restarts.append(listener)

    def broken(self) -> None:
        self.was_broken = True

    @property
    def ids(self) -> list[str]:
        return [json.loads(frame)["id"] for frame in self.frames]

    @property
    def text(self) -> str:
        return "".join(json.loads(frame)["event"]["text"] for frame in self.frames)


class Written:
    """A thread as it is written: SQL by statements, the stream by append.lua itself."""

    def __init__(self, key: UUID, database_url: str, redis: Redis) -> None:
        self.key, self.database_url, self.redis = key, database_url, redis
        self.fence, self.seq = 0, 0
        self.data: dict[Position, str] = {}
        self.last = START

    async def begin(self) -> None:
        """A run's first claim."""
        before = self.last
        self.fence, self.seq = self.fence + 1, 1
        await self.store(1)
        await self._append([1], Mode.CREATE, before)

    async def say(self, count: int = 1, *, size: int = 1, heard: bool = True) -> None:
        """Events, appended; `heard` is false where SQL shall get them alone."""
        seqs = list(range(self.seq + 1, self.seq + count + 1))
        self.seq += count
        for seq in seqs:
            self.data[Position(self.fence, seq)] = f"<{self.fence}-{seq}>" * size
        if heard:
            for start in range(0, count, 64):
                await self._append(seqs[start : start + 64], Mode.APPEND)

    async def store(self, first: int, last: int | None = None) -> None:
        """Commit the events `first` to `last`, joined into one row if they are several."""
        last = first if last is None else last
        data = self.event(*(Position(self.fence, seq) for seq in range(first, last + 1)))
        self.last = Position(self.fence, last)
        async with await psycopg.AsyncConnection.connect(self.database_url) as db:
            await db.execute(
                "INSERT INTO events (thread_id, run_id, fence, seq, seq_to, type, data, salt,"
                " digest, hash) VALUES (%s, %s, %s, %s, %s, 'X', %s, '', '', '')",
                (self.key, self.key, self.fence, first, last, data),
            )
            await db.execute(
                "UPDATE threads SET fence = %(f)s, settled = %(f)s, last_fence = %(f)s,"
                " last_seq = %(s)s, committed_at = now() WHERE id = %(id)s",
                {"f": self.fence, "s": last, "id": self.key},
            )

    def event(self, *ats: Position) -> str:
        text = "".join(self.data.setdefault(at, f"<{at}>") for at in ats)
        return json.dumps({"type": "X", "text": text}, separators=(",", ":"))

    def text_from(self, after: Position = START) -> str:
        return "".join(text for at, text in sorted(self.data.items()) if at > after)

    @property
    def end(self) -> Position:
        return Position(self.fence, self.seq)

    async def _append(self, seqs: list[int], mode: Mode, before: Position | None = None) -> None:
        ats = [Position(self.fence, seq) for seq in seqs]
        entries = [Entry(at, "X", "run", self.event(at)) for at in ats]
        reply = await append(
            self.redis, Batch(self.key, self.fence, entries, mode, sql_last=before)
        )
        assert reply.answer is Answer.OK


async def make_thread(database_url: str, redis: Redis, public_id: str, user: UUID) -> Written:
    """A thread of a person, who is made if need be."""
    key = uuid7()
    async with await psycopg.AsyncConnection.connect(database_url) as db:
        await db.execute(
            "INSERT INTO users (id, email, admin) VALUES (%s, %s, false) ON CONFLICT DO NOTHING",
            (user, f"{user}@example.com"),
        )
        await db.execute(
            "INSERT INTO threads (id, user_id, public_id, agent) VALUES (%s, %s, %s, 'A')",
            (key, user, public_id),
        )
    return Written(key, database_url, redis)


class RelayRig:
    """A relay that runs, its stores, and how often each was asked."""

    def __init__(self, relay: Relay, redis: Redis, database_url: str) -> None:
        self.relay, self.redis, self.database_url = relay, redis, database_url
        self.statements = 0

    async def thread(self, public_id: str = PUBLIC_ID) -> Written:
        return await make_thread(self.database_url, self.redis, public_id, UUID(int=1))

    async def lose_the_connection(self) -> None:
        """End the gateway's pub/sub connection at the server."""
        await self.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]

    async def listen(
        self, thread: Written, sink: Sink, cursor: Position = START, *, live: bool = True
    ) -> Listener:
        listener = Listener(sink, thread.key, PUBLIC_ID)
        await self.relay.join(listener)
        self.relay.place(listener, cursor, "test")
        if live:
            await wait_until(lambda: listener.live)
        return listener


@asynccontextmanager
async def running_relay(redis_url: str, database_url: str) -> AsyncIterator[RelayRig]:
    """A relay for the block; at the end no task of its own is left."""
    before = {*asyncio.all_tasks(), None}
    redis = commands_client(redis_url, "test")
    async with engine(database_url) as opened:
        relay = Relay(redis_url, redis, Database(opened, Direct(database_url, size=1)))
        rig = RelayRig(relay, redis, database_url)

        def count(*_: Any) -> None:
            rig.statements += 1

        event.listen(opened.sync_engine, "before_cursor_execute", count)
        running = asyncio.create_task(relay.run(), name="relay")
        try:
            await wait_until(relay.ready)
            yield rig
        finally:
            for listener in [one for feed in relay._feeds.values() for one in feed.listeners]:
                await relay.leave(listener)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await redis.aclose()
    before.add(asyncio.current_task())  # a fixture's end is a task of its own
    await wait_until(lambda: asyncio.all_tasks() <= before)


@contextmanager
def own_valkey(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A Valkey for this test alone, which may be stopped and flushed at will."""
    valkey = Valkey(
        folder=folder, port=free_port(), credentials=Credentials.generate(), durable=False
    )
    program = valkey.program()
    with subprocess.Popen(
        program.argv, cwd=program.cwd, env=dict(os.environ), stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield valkey.url(), process
        finally:
            process.kill()


def ids(fence: int, first: int, last: int) -> list[str]:
    """Ids of one fence."""
    return [f"{fence}-{seq}" for seq in range(first, last + 1)]
