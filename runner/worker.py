"""The worker: listens to the doorbell, claims runs, carries them, gives them away at the end."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

from runner.carrying import Carrying
from runner.intake import Intake, Place
from runner.isolation import Isolation
from runner.own_lease import OwnLease
from runner.record import AwayError, Record
from shared.bus import doorbell
from shared.bus.connect import AWAY, Redis
from shared.bus.keys import runner_key
from shared.errors import BatonError
from shared.protocol.record import (
    ClaimAnswer,
    ClaimRequest,
    HeartbeatAnswer,
)
from shared.settings import RunnerSettings
from shared.telemetry.logs import bound, get_logger, user_hash
from shared.telemetry.metrics import BELLS
from shared.telemetry.tracecontext import HEADER as TRACE_HEADER
from shared.telemetry.tracecontext import TRACE, trace_of_run

log = get_logger(__name__)

#: One blocking read; longer ones would hold up a shutdown.
BLOCK_MS = 2000
RESCUE_EVERY_S = 2.0
ABOUT_EVERY_S = 5.0
ABOUT_LIFE_S = 15
AWAY_PAUSE_S = 0.5
#: A run in mid-step at shutdown gets this long to reach the step's end.
DRAIN_S = 20.0
LETTING_GO_S = 6.0
#: The processes of suspect runs take as long as we may, and this to end; they must not be cut off,
#: as in a container whose first process is this one, for that would be a death.
LONE_ENDS_S = 2.0


class Worker:
    """Carries up to `settings.concurrency` runs at once."""

    def __init__(
        self,
        runner: str,
        settings: RunnerSettings,
        *,
        redis: Redis,
        blocking: Redis,
        record: Record,
        carrying: Carrying,
        isolation: Isolation,
    ) -> None:
        self.id, self.settings = runner, settings
        self.redis, self._blocking, self._record = redis, blocking, record
        self.carrying, self._isolation = carrying, isolation
        self._tasks: set[asyncio.Task[None]] = set()
        self._slot_free = asyncio.Event()
        self._intake = Intake()
        self._lease = OwnLease()
        self.draining = False

    # ------------------------------------------------------------------ loops
    async def listen(self) -> None:
        """Read the doorbell while a slot is free and the lease lives, until drained."""
        while not self.draining:
            if self._free <= 0:
                self._slot_free.clear()
                await self._slot_free.wait()
                continue
            await self._intake.until_free()
            block_ms = min(BLOCK_MS, int(await self._lease.living() * 1000) + 1)
            try:
                most = min(self._free, self._intake.free)
                bells = await doorbell.listen(self._blocking, self.id, most=most, block_ms=block_ms)
            except AWAY as error:
                log.warning("the doorbell cannot be heard", error=str(error))
                await asyncio.sleep(AWAY_PAUSE_S)
                continue
            self._answer(bells)

    async def rescue(self) -> None:
        """Take entries whose reader died before asking, until cancelled."""
        while True:
            await asyncio.sleep(RESCUE_EVERY_S)
            if self._free > 0 and not self.draining and self._lease.left_s():
                with contextlib.suppress(*AWAY):
                    self._answer(await doorbell.rescue(self.redis, self.id, most=self._free))
                    await doorbell.forget_idle_consumers(self.redis)

    async def show(self) -> None:
        """Keep the hash that shows people what this runner does, until cancelled."""
        key = runner_key(self.id)
        while True:
            about: dict[Any, Any] = {
                "version": self.settings.code_version,
                "slots": self.settings.concurrency,
                "load": len(self.carrying),
                "runs": " ".join(self.carrying.ids),
            }
            with contextlib.suppress(*AWAY):
                pipe = self.redis.pipeline(transaction=False)
                pipe.hset(key, mapping=about)
                pipe.expire(key, ABOUT_LIFE_S)
                await pipe.execute()
            await asyncio.sleep(ABOUT_EVERY_S)

    # ------------------------------------------------------------------ claiming
    @property
    def _free(self) -> int:
        return self.settings.concurrency - len(self._tasks)

    def ring(self, run: UUID) -> None:
        """Toolsvc says that a run is for this runner: others lack the code that it began with."""
        if self._free > 0 and not self.draining:
            self._begin_task(self._ask(run, None, self._intake.take()), "claim")

    def _answer(self, bells: list[doorbell.Bell]) -> None:
        for bell in bells:
            BELLS.labels("rubbish" if bell.run is None else "run").inc()
            self._begin_task(self._ask(bell.run, bell, self._intake.take()), "claim")

    def _begin_task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._freed)
        return task

    def _freed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slot_free.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("a run's task failed", exc_info=error)

    async def _ask(self, hint: UUID | None, bell: doorbell.Bell | None, place: Place) -> None:
        try:
            await self._begin(await self._claim(hint, bell), place)
        finally:
            place.leave()

    async def _claim(self, hint: UUID | None, bell: doorbell.Bell | None) -> ClaimAnswer:
        """Ask toolsvc for work; whatever it answers, the entry has done its duty."""
        answer = ClaimAnswer()
        lone = self._isolation.offer()
        request = ClaimRequest(
            runner=self.id, slots=max(1, self._free), hint=hint, lone=lone.id if lone else None
        )
        try:
            answer = await self._record.claim(request)
        except (AwayError, BatonError) as error:
            log.warning("a claim was not answered", error=str(error))
            if isinstance(error, AwayError):
                self._lease.doubt()
        finally:
            if lone:
                self._isolation.settle(lone, answer)
        if bell is not None:
            with contextlib.suppress(*AWAY):
                await doorbell.answered(self.redis, [bell])
        return answer

    async def carry_alone(self, run: UUID) -> None:
        """Claim and carry this run, and no other, for which this process was started."""
        request = ClaimRequest(runner=self.id, slots=1, hint=run, alone=True)
        while True:
            try:
                answer = await self._record.claim(request)
                break
            except (AwayError, BatonError) as error:
                log.warning("a claim was not answered", error=str(error))
                await asyncio.sleep(AWAY_PAUSE_S)
        place = self._intake.take()
        await asyncio.wait({self._begin_task(self._begin(answer, place), "alone")})

    async def _begin(self, answer: ClaimAnswer, place: Place) -> None:
        if (claimed := answer.claimed) is not None:
            user = user_hash(claimed.user)
            trace = trace_of_run(claimed.root, claimed.input.get(TRACE_HEADER))
            TRACE.set(trace)
            about = {"run": claimed.run_id, "thread": claimed.thread_id, "trace": trace.trace}
            with bound(**about, user=user):
                await self.carrying.carry(claimed, place)

    def heard(self, news: HeartbeatAnswer) -> None:
        """What a heartbeat brought back."""
        self._lease.renewed(news.lease_s)
        self.carrying.heard(news)

    # ------------------------------------------------------------------ the end
    async def drain(self) -> None:
        """Take nothing new; give each run away at its next step, after a while in mid-step."""
        self.draining = True
        loop = asyncio.get_running_loop()
        lone_until = loop.time() + DRAIN_S + LETTING_GO_S + LONE_ENDS_S
        self._isolation.end()
        self.carrying.give_away()
        if self._tasks:
            log.info("giving runs away", runs=len(self.carrying))
            await asyncio.wait(self._tasks, timeout=DRAIN_S)
        self.carrying.let_go()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LETTING_GO_S)
        await self._isolation.ended(within_s=lone_until - loop.time())
        with contextlib.suppress(AwayError, BatonError):
            await self._record.leave(self.id)
        with contextlib.suppress(*AWAY):
            await doorbell.remove_consumer(self.redis, self.id)
