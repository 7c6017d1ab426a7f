"""The runs of this process, each carried from its claim until it ends or somebody else has it."""

import asyncio
import contextlib
from collections.abc import Callable
from uuid import UUID

from agents import Agent

from runner.carried import CarriedRun, Stop, StopKind
from runner.catalog import Catalog
from runner.configure import RunConfigs
from runner.drop_ins.load import LoadedAgent
from runner.intake import Place
from runner.models.gate import Gates
from runner.outbox import Outbox
from runner.publisher import Publisher
from runner.record import LOST, Record
from runner.run import Driver
from runner.tracing import Exporter
from shared.bus.append import Answer, discard
from shared.bus.connect import AWAY, Redis
from shared.errors import BatonError, FencedError
from shared.protocol.codes import Code
from shared.protocol.ids import trace_id
from shared.protocol.record import Carried, ClaimedRun, Heartbeat, HeartbeatAnswer
from shared.settings import RunnerSettings
from shared.settings.runner import ChangedAgents
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import RUNS_LIVE
from shared.telemetry.tracecontext import TRACE

log = get_logger(__name__)

#: A long replay takes the loop's time by the half second: so many at once, while live runs go on.
REPLAYS = 4


class Carrying:
    """The runs that are carried here, and what they share."""

    def __init__(
        self,
        settings: RunnerSettings,
        *,
        redis: Redis,
        record: Record,
        catalog: Catalog,
        exporter: Exporter,
        configs: RunConfigs,
        gates: Gates,
    ) -> None:
        self.settings, self.redis, self._record = settings, redis, record
        self._catalog, self._exporter, self._configs = catalog, exporter, configs
        self._gates = gates
        self.publisher = Publisher(redis, self._confirm)
        self._runs: dict[UUID, CarriedRun] = {}
        #: Called when a run has begun here: the next heartbeat has to name it.
        self.on_begin: Callable[[], None] = lambda: None
        self._replays = asyncio.Semaphore(REPLAYS)
        self._giving_away = False

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def ids(self) -> list[str]:
        """Their public ids."""
        return [one.claimed.run_id for one in self._runs.values()]

    async def carry(self, claimed: ClaimedRun, place: Place) -> None:
        """Carry a run until it ends, or is lost or given away."""
        trace = self._exporter.run_trace(
            trace_id(claimed.root), silent=bool(claimed.journal), within=TRACE.get()
        )
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
        if self._giving_away:
            run.hand_over()
        self._runs[claimed.run] = run
        self.on_begin()
        RUNS_LIVE.set(len(self._runs))
        log.debug("carries a run", agent=claimed.agent, fence=claimed.fence)
        try:
            await self._drive(run, await self._code_of(claimed), place)
        finally:
            if self._runs.get(claimed.run) is run:
                del self._runs[claimed.run]
            RUNS_LIVE.set(len(self._runs))
            self.publisher.forget(outbox)
            self._exporter.forget(trace)

    async def _code_of(self, claimed: ClaimedRun) -> LoadedAgent | None:
        """The code to carry a run with; what has to be imported first is so in a thread."""
        wanted = claimed.agent, claimed.agent_digest
        if self._catalog.at_hand(*wanted):
            return self._catalog.of(*wanted)
        return await asyncio.to_thread(self._catalog.of, *wanted)

    async def _drive(self, run: CarriedRun, loaded: LoadedAgent | None, place: Place) -> None:
        if (error := self._unfit(run.claimed, loaded)) is not None:
            run.stop(Stop(StopKind.FAILED, error))
        driver = Driver(
            run,
            loaded.export if loaded else Agent(name=run.claimed.agent),
            redis=self.redis,
            publisher=self.publisher,
            max_turns=self.settings.max_turns,
            replays=self._replays,
            place=place,
            code=loaded.digest if loaded else None,
            context=loaded.context if loaded else None,
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
    def give_away(self) -> None:
        """Give each run away at its next step; those that still come, at once."""
        self._giving_away = True
        for run in self._runs.values():
            run.hand_over()

    def let_go(self) -> None:
        """Give each run away as it stands, in mid-step."""
        for run in list(self._runs.values()):
            run.stop(Stop(StopKind.HANDED_OVER))
