"""Driving one claimed run: fence, replay, live steps, end. `Driver.carry` tells the story."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from runner.agent_loop import AgentLoop
from runner.carried import CarriedRun, Stop, StopKind
from runner.drop_ins.exports import ContextFactory, Export
from runner.endings import end_of, terminal
from runner.intake import Place
from runner.publisher import Publisher
from runner.record import LOST
from shared.bus.append import Answer, Batch, Entry, Mode, append, discard
from shared.bus.connect import AWAY, Redis
from shared.bus.events import read_tail
from shared.errors import BatonError, FencedError
from shared.protocol.brackets import Brackets
from shared.protocol.codes import Code
from shared.protocol.position import Position
from shared.protocol.record import End, ForeignRow, Outcome
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

#: Uncommitted events of a long step do not get older than this.
EVENTS_EVERY_S = 5.0
REDIS_PAUSE_S = 0.2
#: SQL has the end of the run; Redis gets this long to take it before the run is let go.
SENDING_S = 30.0


class Driver:
    """Carries one run to its end, or until it is lost or handed over."""

    def __init__(
        self,
        run: CarriedRun,
        export: Export,
        *,
        redis: Redis,
        publisher: Publisher,
        max_turns: int,
        replays: asyncio.Semaphore,
        place: Place,
        code: str | None = None,
        context: ContextFactory | None = None,
    ) -> None:
        self.run, self._place = run, place
        self.loop = AgentLoop(
            run, export, max_turns=max_turns, replays=replays, code=code, context=context
        )
        self.redis, self.publisher = redis, publisher
        self.claimed, self.outbox = run.claimed, run.outbox
        #: Whether SQL has what was written before this claim.
        self.settled = run.claimed.first

    async def carry(self) -> None:
        """The whole story of a claim.

        Raises:
            BatonError: one of `LOST`: somebody else carries the run on; nothing may be written.
        """
        try:
            await self._carry()
        except BatonError as error:
            if error.code in LOST:
                raise
            await self._give_up(error)
        except Exception:
            log.exception("a run could not be carried")
            await self._give_up(BatonError(Code.INTERNAL))

    async def _carry(self) -> None:
        tail = await self._fence_redis()
        if self.claimed.first:
            self._place.leave()
            self._withdraw_half_written()
        else:
            await self._take_over(tail)
            await self._place.after_the_others()
        async with self._committing_events():
            stop = await self.loop.drive()
        if stop.kind is StopKind.LOST:
            raise stop.error or FencedError(self.claimed.fence)
        if stop.kind is StopKind.HANDED_OVER:
            # Whoever goes on reads it in Redis else, which may forget it before that.
            await self.run.committer.leave()
        else:
            await self._finish(stop)

    # ------------------------------------------------------------------ beginning
    async def _fence_redis(self) -> list[ForeignRow]:
        """Append the start rows: from here on no predecessor can write. Only then read its tail."""
        while True:
            try:
                await self._append_starts()
                return [] if self.claimed.first else await self._read_tail()
            except AWAY as error:
                log.warning("redis is away at the beginning of a run", error=str(error))
                if "WRONGTYPE" in str(error):  # not a stream: somebody else's, under our key
                    with contextlib.suppress(*AWAY):
                        await discard(self.redis, self.claimed.thread)
            await asyncio.sleep(REDIS_PAUSE_S)

    async def _append_starts(self) -> None:
        claimed = self.claimed
        entries = [
            Entry(Position(one.fence, one.seq), one.type, claimed.run_id, one.data)
            for one in claimed.starts
        ]
        batch = Batch(
            claimed.thread,
            claimed.fence,
            entries,
            Mode.CREATE,
            settled=claimed.first,
            ttl_s=self.outbox.ttl_s,
            sql_last=Position(*claimed.sql_last),
        )
        if (await append(self.redis, batch)).answer is Answer.FENCED:
            # Somebody else has claimed, or somebody wrote into the stream by hand: SQL knows.
            await self.run.record.confirm(claimed.run, self.run.committer.token)
            await discard(self.redis, claimed.thread)
            await append(self.redis, batch)

    async def _read_tail(self) -> list[ForeignRow]:
        """What the stream has above SQL's last settled id, from fences before ours."""
        after = Position(*self.claimed.sql_last)
        known = {(one.fence, one.seq) for one in self.claimed.starts}
        tail = await read_tail(self.redis, self.claimed.thread, after, below=self.claimed.fence)
        return [
            ForeignRow(entry.at.fence, entry.at.seq, entry.type, entry.data)
            for entry in tail
            if entry.at not in known
        ]

    async def _take_over(self, tail: list[ForeignRow]) -> None:
        """Settle, close what the predecessor left open, and withdraw what it had half written."""
        await self.run.committer.settle(tail)
        self.settled = True
        before = self._opened_before()
        for row in tail:
            before.see(orjson.loads(row.data))
        for event in before.closing():
            self.outbox.emit(event)
        restated = [
            {"id": event["messageId"], "role": "reasoning", "content": ""}
            for event in before.still_open()
            if event["type"] == "REASONING_MESSAGE_START" and not event.get("subagentRunId")
        ]
        earlier = self.run.earlier
        messages = [*earlier.conversation(), *earlier.own_messages(), *restated]
        self.outbox.emit({"type": "MESSAGES_SNAPSHOT", "messages": messages})
        log.info("took a run over", fence=self.claimed.fence, steps=len(self.claimed.journal))

    def _opened_before(self) -> Brackets:
        """By the events that SQL has; where those make no sense, the run ends."""
        try:
            events = [orjson.loads(data) for data in self.claimed.brackets]
        except orjson.JSONDecodeError:
            events = [None]
        if all(isinstance(event, dict) for event in events):
            return Brackets(events)
        self.run.stop(Stop(StopKind.FAILED, BatonError(Code.INVALID_STATE)))
        return Brackets()

    def _withdraw_half_written(self) -> None:
        """A resumed run may have ended in the middle of a text, which is written anew now."""
        earlier = self.run.earlier
        if earlier.withdrawn:
            self.outbox.emit({"type": "MESSAGES_SNAPSHOT", "messages": earlier.conversation()})

    # ------------------------------------------------------------------ meanwhile
    @asynccontextmanager
    async def _committing_events(self) -> AsyncIterator[None]:
        async def keep() -> None:
            while True:
                await asyncio.sleep(EVENTS_EVERY_S)
                await self.run.committer.events()

        keeping = asyncio.create_task(keep(), name="commit events")
        try:
            yield
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    # ------------------------------------------------------------------ ending
    async def _finish(self, stop: Stop) -> None:
        """Close what is open, commit the end, and only then publish the terminal event."""
        if stop.kind is not StopKind.INTERRUPTED:  # whoever goes on reads them as they were
            await self._write_sessions()
        for event in self.outbox.brackets.closing():
            self.outbox.emit(event)
        self.outbox.hold_back(terminal(self.run, stop))
        await self.run.committer.finish(end_of(self.run, stop))
        await self._publish_the_end()

    async def _give_up(self, error: BatonError) -> None:
        """End the run with as little as possible: whoever took it over would come to the same."""
        log.warning("a run is given up", code=error.code, error=error.message)
        for event in self.outbox.brackets.closing():
            self.outbox.emit(event)
        self.outbox.hold_back({"type": "RUN_ERROR", "message": error.message, "code": error.code})
        end = End(outcome=Outcome.FAILED, error_code=error.code, error_message=error.message)
        await self.run.committer.give_up(end, None if self.settled else [])
        await self._publish_the_end()

    async def _publish_the_end(self) -> None:
        self.outbox.release()
        if not await self.publisher.drained(self.outbox, within_s=SENDING_S):
            log.warning("redis did not take the end of a run; sql has it")

    async def _write_sessions(self) -> None:
        try:
            await self.run.sessions.write()
        except Exception:  # the author's code; the run has its outcome already
            log.exception("a session could not be written")
