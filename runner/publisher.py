"""The pump: one per process, it sends the outboxes of all runs, one pipeline in flight.

When one outbox is due, all that have something go along: under load that is one pipeline for many
runs, and a delta never waits longer than its window.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from runner.outbox import Outbox
from shared.bus.append import Answer, Reply, append_all
from shared.bus.connect import AWAY, Redis, RedisError
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import APPEND_BATCH, APPENDS

log = get_logger(__name__)

#: While Redis is away: try again after this, doubling up to the second.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0

_ANSWERED = {answer: APPENDS.labels(answer.value) for answer in Answer}

#: Asked when the stream does not know us: is the fence still ours in SQL?
Confirm = Callable[[Outbox, Answer], Awaitable[None]]


class Publisher:
    """Sends events to Redis until cancelled; `confirm` decides about FENCED and EMPTY."""

    def __init__(self, redis: Redis, confirm: Confirm) -> None:
        self.redis = redis
        self._confirm = confirm
        self._dirty: set[Outbox] = set()
        self._wake = asyncio.Event()
        self._timer: asyncio.Handle | None = None
        self._timer_due = 0.0
        self._confirming: dict[Outbox, asyncio.Task[None]] = {}
        self._pause_s = 0.0

    def changed(self, outbox: Outbox) -> None:
        """An outbox has something to send by `outbox.due`."""
        if outbox.forgotten:
            return  # agent code that does not let go may still emit
        self._dirty.add(outbox)
        if outbox.due is not None:
            self._wake_at(outbox.due)

    def forget(self, outbox: Outbox) -> None:
        """The run is over here; nothing of it is sent any more."""
        self._dirty.discard(outbox)
        outbox.forgotten = True
        outbox.all_sent.set()  # nobody shall wait for what is not sent any more
        if confirming := self._confirming.pop(outbox, None):
            confirming.cancel()

    async def drained(self, outbox: Outbox, *, within_s: float) -> bool:
        """Wait until Redis has everything of an outbox; False when time runs out first."""
        try:
            async with asyncio.timeout(within_s):
                await outbox.all_sent.wait()
        except TimeoutError:
            return False
        return not outbox.unsent

    async def run(self) -> None:
        """Pump until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            ready = [one for one in self._dirty if one.unsent and one not in self._confirming]
            self._dirty.difference_update([one for one in self._dirty if not one.unsent])
            if ready:
                await self._send(ready)
            self._schedule()

    async def _send(self, ready: list[Outbox]) -> None:
        batches = [outbox.take() for outbox in ready]
        try:
            replies = await append_all(self.redis, batches)
        except AWAY as error:
            for outbox, batch in zip(ready, batches, strict=True):
                outbox.unanswered(batch)
            await self._back_off(error)
            return
        self._pause_s = 0.0
        for outbox, batch, reply in zip(ready, batches, replies, strict=True):
            APPEND_BATCH.observe(len(batch.entries))
            if isinstance(reply, RedisError):
                outbox.unanswered(batch)
            self._answered(outbox, reply)

    def _answered(self, outbox: Outbox, reply: Reply | RedisError) -> None:
        if isinstance(reply, RedisError):
            APPENDS.labels("ERROR").inc()
            if not outbox.refused:  # it will be, many times, for as long as Redis has no room
                log.warning("redis refuses appends", run=outbox.run_id, error=str(reply))
            outbox.refused = True
            if "WRONGTYPE" in str(reply):  # not a stream: somebody else's, under our key
                self._begin_to_ask(outbox, Answer.FENCED)
            outbox.due = time.monotonic() + LONGEST_PAUSE_S
            return
        outbox.refused = False
        _ANSWERED[reply.answer].inc()
        if reply.answer not in (Answer.OK, Answer.HAVE):
            self._begin_to_ask(outbox, reply.answer)
        elif outbox.is_foreign(reply):
            # The stream is written anew, as where somebody has written under a higher fence.
            self._begin_to_ask(outbox, Answer.FENCED)
        else:
            outbox.answered(reply)

    def _begin_to_ask(self, outbox: Outbox, answer: Answer) -> None:
        task = asyncio.create_task(self._ask(outbox, answer), name="confirm fence")
        self._confirming[outbox] = task

    async def _ask(self, outbox: Outbox, answer: Answer) -> None:
        try:
            await self._confirm(outbox, answer)
        finally:
            self._confirming.pop(outbox, None)
            self._schedule()

    async def _back_off(self, error: BaseException) -> None:
        self._pause_s = min(max(FIRST_PAUSE_S, self._pause_s * 2), LONGEST_PAUSE_S)
        log.warning("redis is away, events wait", error=str(error), pause_s=self._pause_s)
        await asyncio.sleep(self._pause_s)

    def _schedule(self) -> None:
        due = [one.due or 0 for one in self._dirty if one.unsent and one not in self._confirming]
        if due:
            self._wake_at(min(due))

    def _wake_at(self, due: float) -> None:
        now = time.monotonic()
        if due <= now:
            self._wake.set()
            return
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        # uvloop answers a delay below half a millisecond with a handle that knows no time.
        self._timer_due = due
        self._timer = asyncio.get_running_loop().call_later(due - now, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._wake.set()
