"""A run that a test carries by hand: events as runners append them, rows as toolsvc stores them."""

import json
from typing import Any
from uuid import UUID

from shared.bus.append import Answer, Batch, Entry, Mode, append, discard
from shared.protocol.position import START, Position
from tests.gateway.rig import Rig, wait_until

Event = dict[str, Any]


def says(delta: str, message: str = "m1") -> Event:
    shared = {"messageId": message, "role": "assistant"}
    return {"type": "TEXT_MESSAGE_CHUNK", "delta": delta, **shared}


FINISHED: Event = {"type": "RUN_FINISHED", "outcome": {"type": "success"}}


class CarriedRun:
    """The newest run of the rig, under one fence after another."""

    def __init__(self, rig: Rig, run: UUID, run_id: str, thread: UUID) -> None:
        self.rig, self.run, self.run_id, self.thread = rig, run, run_id, thread
        self.at = START
        self.unstored: list[tuple[Position, Event]] = []

    @classmethod
    async def claimed(cls, rig: Rig) -> "CarriedRun":
        """Wait for a run, and begin it."""
        query = "SELECT id, public_id, thread_id FROM runs WHERE status = 'queued'"

        async def queued() -> bool:
            return bool(await rig.sql(query))

        await wait_until(queued)
        ((run, run_id, thread),) = await rig.sql(query)
        made = cls(rig, run, run_id, thread)
        ((fence, seq),) = await rig.sql(
            "SELECT fence, last_seq FROM threads WHERE id = :thread", thread=thread
        )
        made.at = Position(fence, seq)
        await rig.sql(
            "UPDATE runs SET status = 'running', first_fence = :fence, claimed_at = now() "
            "WHERE id = :run",
            run=run,
            fence=fence + 1,
        )
        await made.take({"type": "RUN_STARTED", "runId": run_id})
        return made

    async def take(self, first: Event) -> None:
        """Begin the next fence with an event; it, and what was before, is in SQL then."""
        before = self.at
        self.at = Position(before.fence + 1, 0)
        entry = self._next(first)
        await self.store()
        await self.rig.sql(
            "UPDATE threads SET fence = :fence, settled = :fence WHERE id = :thread",
            fence=self.at.fence,
            thread=self.thread,
        )
        await self._append([entry], Mode.CREATE, before)

    async def say(self, *events: Event) -> None:
        """Append events."""
        await self._append([self._next(event) for event in events], Mode.APPEND)

    async def told(self, *events: Event) -> None:
        """Append events, and wait until the one who follows has them."""
        await self.say(*events)
        feeds = self.rig.app.state.sockets.relay._feeds
        await wait_until(lambda: self.thread in feeds)
        (listener,) = feeds[self.thread].listeners
        await wait_until(lambda: listener.cursor == self.at)

    async def store(self) -> None:
        """Put what was said into SQL, adjacent deltas of one message in one row."""
        rows: list[tuple[Position, Position, Event]] = []
        for at, event in self.unstored:
            last = rows[-1] if rows else None
            said = "delta" in event and event.get("messageId")
            if last and said and last[2].get("messageId") == said:
                joined = last[2] | {"delta": last[2]["delta"] + event["delta"]}
                rows[-1] = (last[0], at, joined)
            else:
                rows.append((at, at, event))
        for first, end, event in rows:
            await self.rig.sql(
                "INSERT INTO events (thread_id, run_id, fence, seq, seq_to, type, data, salt,"
                " digest, hash) VALUES (:thread, :run, :fence, :seq, :end, :type, :data, '', '',"
                " '')",
                thread=self.thread,
                run=self.run,
                fence=first.fence,
                seq=first.seq,
                end=end.seq,
                type=event["type"],
                data=json.dumps(event),
            )
            await self.rig.sql(
                "UPDATE threads SET last_fence = :fence, last_seq = :seq, committed_at = now() "
                "WHERE id = :thread",
                fence=end.fence,
                seq=end.seq,
                thread=self.thread,
            )
        self.unstored = []

    async def only_store(self, *events: Event) -> None:
        """Say something of which SQL alone ever hears: Redis has lost all it had."""
        for event in events:
            self._next(event)
        await self.store()
        await discard(self.rig.services.redis, self.thread)

    async def end(self, status: str, *messages: Event) -> None:
        """Store how it ended, and the messages it made."""
        for message in messages:
            await self.rig.sql(
                "INSERT INTO messages (thread_id, id, run_id, role, content) "
                "VALUES (:thread, :id, :run, :role, :content)",
                thread=self.thread,
                id=message["id"],
                run=self.run,
                role=message["role"],
                content=json.dumps(message),
            )
        await self.rig.finish(self.run_id, status)

    def _next(self, event: Event) -> Entry:
        self.at = Position(self.at.fence, self.at.seq + 1)
        self.unstored.append((self.at, event))
        return Entry(self.at, event["type"], self.run_id, json.dumps(event))

    async def _append(
        self, entries: list[Entry], mode: Mode, before: Position | None = None
    ) -> None:
        batch = Batch(self.thread, self.at.fence, entries, mode, sql_last=before)
        reply = await append(self.rig.services.redis, batch)
        assert reply.answer is Answer.OK
