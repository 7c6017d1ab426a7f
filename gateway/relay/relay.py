"""The relay: news from the reader, gaps from stream and SQL, a look at SQL every two seconds.

The stream is the fast path, SQL the truth. Nothing here grows with the number of idle threads.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from gateway.relay.feed import Fill, fill, follows
from gateway.relay.listener import Listener
from gateway.relay.reader import Reader
from gateway.relay.sql import read_rows, threads_committed
from gateway.store.database import Database
from gateway.store.turns import Own
from shared.bus.append import Entry
from shared.bus.connect import AWAY as REDIS_AWAY
from shared.bus.connect import Redis
from shared.bus.events import PAGE, Announcement, parse_announcement, read_after
from shared.bus.keys import events_key, thread_of
from shared.db.engine import is_away
from shared.errors import StoreAwayError
from shared.protocol.frames import event_frame
from shared.protocol.position import START, Position
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import RELAY_FILLS, SUBSCRIPTIONS

log = get_logger(__name__)

LOOK_EVERY_S = 2.0
#: Commits become visible a little after the time they carry.
LOOK_OVERLAP_S = 10.0
#: Catching up reads two stores; this many at once leave room for everybody else.
FILLS_AT_ONCE = 8
AWAY_PAUSE_S = 0.5
NOTHING_PAUSE_S = 0.05
SUBSCRIBED_WITHIN_S = 2.0
#: Redis may hang; notices are best effort, so nobody waits for them for long.
NOTICES_WITHIN_S = 1.0
#: Redis counts as away when the relay has not heard it for this long.
READY_WITHIN_S = 8.0


class Feed:
    """The listeners of one thread, and where SQL stood at the last look."""

    __slots__ = ("listeners", "seen")

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.seen: Position | None = None


class Relay:
    """Relays events of threads to listeners; `run` must be running."""

    def __init__(self, url: str, redis: Redis, db: Database) -> None:
        self._redis, self._db = redis, db
        self._feeds: dict[UUID, Feed] = {}
        self._reader = Reader(url, message=self._message, restored=self._restored)
        self._catching: dict[Listener, asyncio.Task[None]] = {}
        self._fills = asyncio.Semaphore(FILLS_AT_ONCE)
        self._others: dict[bytes, set[Notice]] = defaultdict(set)
        self._looked_at = time.monotonic()

    # ------------------------------------------------------------------ for sockets
    def ready(self) -> bool:
        """Whether Redis has been heard lately."""
        return self._reader.connected and self._reader.silence_s() < READY_WITHIN_S

    def lag_s(self) -> float | None:
        """How far the relay is behind Redis, in seconds; `None` while that is not known."""
        return self._reader.lag_s

    async def join(self, listener: Listener) -> None:
        """Begin to listen; nothing is delivered before `place`.

        Raises:
            StoreAwayError: Redis is away.
        """
        feed = self._feeds.setdefault(listener.thread, Feed())
        feed.listeners.add(listener)
        SUBSCRIPTIONS.inc()
        try:
            async with asyncio.timeout(SUBSCRIBED_WITHIN_S):
                await self._reader.subscribe(events_key(listener.thread))
        except REDIS_AWAY:
            await self.leave(listener)
            raise StoreAwayError("Redis") from None

    async def leave(self, listener: Listener) -> None:
        """Listen no more.

        Whoever catches up for it ends by itself: a statement cut off half-way costs a connection.
        """
        listener.live = listener.placed = False
        feed = self._feeds.get(listener.thread)
        if feed is None or listener not in feed.listeners:
            return
        feed.listeners.discard(listener)
        SUBSCRIPTIONS.dec()
        if not feed.listeners:
            del self._feeds[listener.thread]
            try:
                await self._reader.unsubscribe(events_key(listener.thread))
            except REDIS_AWAY:
                log.debug("could not unsubscribe; the next connection will not subscribe")

    def place(self, listener: Listener, cursor: Position, cause: str) -> None:
        """Deliver from a cursor on, unless the listener has left."""
        feed = self._feeds.get(listener.thread)
        if feed is not None and listener in feed.listeners:
            listener.cursor, listener.placed = cursor, True
            self.catch_up(listener, cause)

    def catch_up(self, listener: Listener, cause: str) -> None:
        """Read what the listener lacks, then keep it live."""
        listener.live = False
        listener.stale = True
        if listener not in self._catching:
            RELAY_FILLS.labels(cause).inc()
            task = asyncio.create_task(self._catch_up(listener), name=f"fill {cause}")
            self._catching[listener] = task

    async def covers(self, thread: UUID, cursor: Position) -> bool:
        """Whether the stream still has the event at a cursor, so that a resend has no hole.

        `<fence>-0` lies before a fence's first event, as a reset's cursor does.
        """
        before = Position(cursor.fence, max(cursor.seq - 1, 0))
        page = await read_after(self._redis, thread, before, count=1)
        wanted = {cursor, Position(cursor.fence, cursor.seq + 1)}
        if cursor == START:
            wanted = {Position(1, 1)}
        return bool(page) and page[0].at in wanted

    async def listen_to(self, channel: str, notice: "Notice") -> None:
        """Get every message of another channel (a person's notices), perhaps a little later."""
        self._others[channel.encode()].add(notice)
        try:
            async with asyncio.timeout(NOTICES_WITHIN_S):
                await self._reader.subscribe(channel)
        except REDIS_AWAY:
            log.debug("subscribed once redis is back")

    async def ignore(self, channel: str, notice: "Notice") -> None:
        """Get no more messages of it."""
        notices = self._others[channel.encode()]
        notices.discard(notice)
        if not notices:
            del self._others[channel.encode()]
            try:
                await self._reader.unsubscribe(channel)
            except REDIS_AWAY:
                log.debug("could not unsubscribe")

    # ------------------------------------------------------------------ news
    async def run(self) -> None:
        """Read and look until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reader.run(), name="relay reader")
            group.create_task(self._look(), name="relay look")

    def _message(self, channel: bytes, payload: bytes) -> None:
        if channel in self._others:
            for notice in self._others[channel]:
                notice.notice(payload)
            return
        try:
            feed = self._feeds.get(UUID(thread_of(channel)))
            if feed is not None:
                self._spread(feed, parse_announcement(payload))
        except ValueError:  # bytes that are no text too; whatever it was, a look finds the truth
            log.warning("a message on an events channel made no sense")

    def _spread(self, feed: Feed, news: Announcement) -> None:
        frames: list[str] = []
        for listener in feed.listeners:
            if not listener.live:
                listener.stale = True
                continue
            first = follows(listener.cursor, news)
            if first is None:
                self.catch_up(listener, "gap")
                continue
            if first < len(news.events):
                frames = frames or _frames(listener.thread_json, news.first, news.events)
                self._deliver(listener, frames, news.first, first)

    def _deliver(self, listener: Listener, frames: list[str], start: Position, first: int) -> None:
        for index in range(first, len(frames)):
            if not listener.sink.room():
                # The stream keeps what the buffer does not take.
                self.catch_up(listener, "slow")
                return
            listener.sink.send(frames[index])
            listener.cursor = Position(start.fence, start.seq + index)

    def _restored(self) -> None:
        """A new connection: whatever was published meanwhile was missed."""
        for feed in self._feeds.values():
            for listener in feed.listeners:
                if listener.placed:
                    self.catch_up(listener, "reconnect")

    # ------------------------------------------------------------------ gaps
    async def _catch_up(self, listener: Listener) -> None:
        try:
            while listener.placed and not await self._pass(listener):
                pass
            if not listener.placed:
                return  # it has left, or its sink has to place it anew
            listener.live = True
            if listener.on_live is not None:
                on_live, listener.on_live = listener.on_live, None
                on_live()
        except Exception:
            log.exception("a listener could not be caught up")
            listener.sink.broken()
        finally:
            if self._catching.get(listener) is asyncio.current_task():
                del self._catching[listener]

    async def _pass(self, listener: Listener) -> bool:
        """Deliver one page; True when nothing is missing any more."""
        await listener.sink.drained()
        listener.stale = False
        before = listener.cursor
        async with self._fills:
            read = await self._read(listener) if listener.placed else None
        if not listener.placed or listener.cursor != before:
            return False  # left or placed anew meanwhile: what was read follows another cursor
        if read is None:
            await asyncio.sleep(AWAY_PAUSE_S)
            return False
        found, complete = read
        took_all = listener.show(found.shown)
        listener.page = min(listener.page * 4, PAGE) if took_all else max(listener.page // 4, 4)
        if found.inside and took_all:
            listener.placed = False
            listener.sink.restart(listener)
            return False
        if listener.stale and listener.cursor == before:
            await asyncio.sleep(NOTHING_PAUSE_S)  # what came is not to be shown yet
        # Without progress the rest is not there yet: the next gap or look tries again.
        return took_all and not listener.stale and (complete or listener.cursor == before)

    async def _read(self, listener: Listener) -> tuple[Fill, bool] | None:
        """What follows the cursor, and whether that is all; `None` while SQL is away."""
        entries, all_entries = await self._entries(listener)
        try:
            async with self._db.reading(Own.RELAY) as db:
                stored = await read_rows(db, listener.thread, listener.cursor, limit=listener.page)
        except Exception as error:
            if not _sql_away(error):
                raise
            return None
        if listener.cursor < stored.deleted:
            return Fill([], inside=True), True
        all_rows = len(stored.rows) < listener.page
        found = fill(
            listener.cursor,
            entries,
            stored.rows,
            settled=stored.settled,
            rows_complete=all_rows,
        )
        return found, all_entries and all_rows and not found.partly

    async def _entries(self, listener: Listener) -> tuple[list[Entry], bool]:
        """A page of the stream, and whether it is the last; empty while Redis is away."""
        try:
            entries = await read_after(
                self._redis, listener.thread, listener.cursor, count=listener.page
            )
        except REDIS_AWAY as error:
            log.warning("a gap is filled from sql alone", error=str(error))
            return [], True
        return entries, len(entries) < listener.page

    # ------------------------------------------------------------------ looks
    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if not self._feeds:
                self._looked_at = time.monotonic()
                continue
            try:
                await self._look_once()
            except Exception as error:
                if _sql_away(error):
                    log.warning("could not look at sql", error=str(error))
                else:  # the relay has to outlive it, whatever it was
                    log.exception("could not look at sql")

    async def _look_once(self) -> None:
        """Where SQL had ids above a cursor already at the look before, that is a gap too."""
        since = time.monotonic() - self._looked_at + LOOK_OVERLAP_S
        begun = time.monotonic()
        async with self._db.reading(Own.RELAY) as db:
            committed = await threads_committed(db, since)
        self._looked_at = begun
        for thread, feed in self._feeds.items():
            if feed.seen is not None:
                self._compare(feed, feed.seen)
            feed.seen = committed.get(thread)

    def _compare(self, feed: Feed, seen: Position) -> None:
        for listener in feed.listeners:
            if listener.live and listener.cursor < seen:
                self.catch_up(listener, "look")


class Notice(Protocol):
    """Who gets messages of another channel."""

    def notice(self, payload: bytes) -> None:
        """One message."""
        ...


def _sql_away(error: Exception) -> bool:
    return isinstance(error, StoreAwayError) or is_away(error)


def _frames(thread_json: str, first: Position, events: Sequence[bytes]) -> list[str]:
    return [
        event_frame(thread_json, Position(first.fence, first.seq + index), event.decode())
        for index, event in enumerate(events)
    ]
