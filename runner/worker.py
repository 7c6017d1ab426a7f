"""The worker: listens to the doorbell, claims runs, carries them, gives them away at the end."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

from agents import Agent

from runner.carried import CarriedRun, Stop, StopKind
from runner.catalog import Catalog, LoadedAgent
from runner.configure import RunConfigs
from runner.intake import Intake, Place
from runner.isolation import Isolation
from runner.models.gate import Gates
from runner.outbox import Outbox
from runner.own_lease import OwnLease
from runner.publisher import Publisher
from runner.record import LOST, AwayError, Record
from runner.run import Driver
from runner.tracing import Exporter
from shared.bus import doorbell
from shared.bus.append import Answer, discard
from shared.bus.connect import AWAY, Redis
from shared.bus.keys import runner_key
from shared.errors import BatonError, FencedError
from shared.protocol.codes import Code
from shared.protocol.ids import trace_id
from shared.protocol.record import (
    Carried,
    ClaimAnswer,
    ClaimedRun,
    ClaimRequest,
    Heartbeat,
    HeartbeatAnswer,
)
from shared.settings import RunnerSettings
from shared.settings.runner import ChangedAgents
from shared.telemetry.logs import bound, get_logger, user_hash
from shared.telemetry.metrics import BELLS, RUNS_LIVE

log = get_logger(__name__)

#: One blocking read; longer ones would hold up a shutdown.
BLOCK_MS = 2000
RESCUE_EVERY_S = 2.0
ABOUT_EVERY_S = 5.0
ABOUT_LIFE_S = 15
AWAY_PAUSE_S = 0.5
#: A run in mid-step at shutdown gets this long to reach the step's end.
DRAIN_S = 20.0
#: A long replay takes the loop's time by the half second: so many at once, while live runs go on.
REPLAYS = 4
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
        catalog: Catalog,
        exporter: Exporter,
        configs: RunConfigs,
        gates: Gates,
        isolation: Isolation,
    ) -> None:
        self.id, self.settings = runner, settings
        self.redis, self._blocking, self._record = redis, blocking, record
        self._catalog, self._exporter, self._configs = catalog, exporter, configs
        self._gates = gates
        self._isolation = isolation
        self.publisher = Publisher(redis, self._confirm)
        self._runs: dict[UUID, CarriedRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slot_free = asyncio.Event()
        self._intake = Intake()
        self._lease = OwnLease()
        #: Called when a run has begun here: the next heartbeat has to name it.
        self.on_begin: Callable[[], None] = lambda: None
        self._replays = asyncio.Semaphore(REPLAYS)
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
                "load": len(self._runs),
                "runs": " ".join(one.claimed.run_id for one in self._runs.values()),
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
            with bound(run=claimed.run_id, thread=claimed.thread_id, user=user):
                await self._carry(claimed, place)

    # ------------------------------------------------------------------ carrying
    async def _carry(self, claimed: ClaimedRun, place: Place) -> None:
        loaded = self._catalog.of(claimed.agent, claimed.agent_digest)
        trace = self._exporter.run_trace(trace_id(claimed.root), silent=bool(claimed.journal))
        trace.taken_over(claimed.cut_off)
        outbox = Outbox(
            thread=claimed.thread,
            run_id=claimed.run_id,
            fence=claimed.fence,
            starts=claimed.starts,
            ttl_s=self.settings.stream_ttl_s,
            changed=self.publisher.changed,
        )
        run = CarriedRun(
            claimed,
            record=self._record,
            outbox=outbox,
            run_config=self._configs.of(claimed),
            trace=trace,
        )
        if self.draining:
            run.hand_over()
        self._runs[claimed.run] = run
        self.on_begin()
        RUNS_LIVE.set(len(self._runs))
        log.debug("carries a run", agent=claimed.agent, fence=claimed.fence)
        try:
            await self._drive(run, loaded, place)
        finally:
            if self._runs.get(claimed.run) is run:
                del self._runs[claimed.run]
            RUNS_LIVE.set(len(self._runs))
            self.publisher.forget(outbox)
            self._exporter.forget(trace)

    async def _drive(self, run: CarriedRun, loaded: LoadedAgent | None, place: Place) -> None:
        if (error := self._unfit(run.claimed, loaded)) is not None:
            run.stop(Stop(StopKind.FAILED, error))
        driver = Driver(
            run,
            loaded.agent if loaded else Agent(name=run.claimed.agent),
            redis=self.redis,
            publisher=self.publisher,
            max_turns=self.settings.max_turns,
            replays=self._replays,
            place=place,
            code=loaded.digest if loaded else None,
        )
        try:
            await driver.carry()
            log.debug("carried a run to its end", fence=run.claimed.fence)
        except BatonError as error:
            if error.code not in LOST:
                raise
            log.info("lease_lost", fence=run.claimed.fence)

    def _unfit(self, claimed: ClaimedRun, loaded: LoadedAgent | None) -> BatonError | None:
        """Why this code may not carry the run on."""
        if loaded is None:
            # The claim asked for agents that we announced, so the file has just gone.
            return BatonError(Code.UNKNOWN_AGENT)
        if claimed.agent_digest in (None, loaded.digest):
            return None
        if self.settings.changed_agents is ChangedAgents.FAIL:
            return BatonError(Code.AGENT_CHANGED)
        log.warning("replays with other code than the run began with", agent=claimed.agent)
        return None

    async def _confirm(self, outbox: Outbox, answer: Answer) -> None:
        """The stream does not know us; SQL decides whether we write it anew or stop."""
        run = next((one for one in self._runs.values() if one.outbox is outbox), None)
        if run is None:
            return
        try:
            await self._record.confirm(run.claimed.run, run.committer.token)
        except BatonError as error:
            # A run that has just ended is confirmed by nobody, and needs its stream no more.
            run.stop(Stop(StopKind.LOST, FencedError(run.claimed.fence)))
            log.info("the stream moved on", code=error.code)
            self.publisher.forget(outbox)
            return
        with contextlib.suppress(*AWAY):
            if answer is Answer.FENCED:
                await discard(self.redis, run.claimed.thread)
            outbox.refill()

    # ------------------------------------------------------------------ news
    def beat(self) -> Heartbeat:
        """What a heartbeat says: the runs, and their tokens in the second half of their lives."""
        runs = self._runs.values()
        return Heartbeat(
            runs=[
                Carried(run.claimed.run, run.claimed.fence, run.committer.token.expires)
                for run in runs
            ],
            tokens={
                run.claimed.run: run.committer.token.value
                for run in runs
                if run.committer.token.due
            },
            providers=self._gates.report(),
            slots=self.settings.concurrency,
            version=self.settings.code_version,
        )

    def heard(self, news: HeartbeatAnswer) -> None:
        """What a heartbeat brought back."""
        self._lease.renewed(news.lease_s)
        for id_ in news.fenced:
            if run := self._runs.get(id_):
                run.stop(Stop(StopKind.LOST, FencedError(run.claimed.fence)))
        for id_ in news.cancelled:
            self.cancel(id_)
        for id_, (token, expires) in news.tokens.items():
            if run := self._runs.get(id_):
                run.committer.token.renew(token, expires)
        self._gates.heard(news.providers)

    def cancel(self, id_: UUID) -> None:
        """Somebody asked for a run to stop."""
        if run := self._runs.get(id_):
            run.stop(Stop(StopKind.CANCELLED))

    # ------------------------------------------------------------------ the end
    async def drain(self) -> None:
        """Take nothing new; give each run away at its next step, after a while in mid-step."""
        self.draining = True
        loop = asyncio.get_running_loop()
        lone_until = loop.time() + DRAIN_S + LETTING_GO_S + LONE_ENDS_S
        self._isolation.end()
        for run in self._runs.values():
            run.hand_over()
        if self._tasks:
            log.info("giving runs away", runs=len(self._runs))
            await asyncio.wait(self._tasks, timeout=DRAIN_S)
        for run in list(self._runs.values()):
            run.stop(Stop(StopKind.HANDED_OVER))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LETTING_GO_S)
        await self._isolation.ended(within_s=lone_until - loop.time())
        with contextlib.suppress(AwayError, BatonError):
            await self._record.leave(self.id)
        with contextlib.suppress(*AWAY):
            await doorbell.remove_consumer(self.redis, self.id)
