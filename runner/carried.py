"""A run that this process carries: what model wrapper, tool wrapper and driver share about it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, NoReturn

import orjson
from agents import FunctionTool, RunConfig
from agents.items import ToolApprovalItem

from runner.approvals import Approvals, Question
from runner.committer import Committer
from runner.contexts import ContextWatch, context_of
from runner.earlier import Earlier
from runner.home import Home
from runner.journal import Journal, Key, OtherPathError
from runner.outbox import Outbox
from runner.parking import Parking
from runner.record import LOST, Record
from runner.restored import Restored
from runner.scope import Scope
from runner.sessions import Sessions
from runner.stage import Stage
from runner.steps import other_path, parsed, recorded_as, replayable
from runner.tracing import RunTrace
from shared.errors import BatonError
from shared.protocol.ids import new_id
from shared.protocol.record import ClaimedRun, StepRecord
from shared.telemetry.metrics import FIRST_EVENT_SECONDS


class StopKind(StrEnum):
    """How carrying a run comes to its end here."""

    FINISHED = "finished"  #: the agent has a final output
    FAILED = "failed"  #: it cannot go on
    CANCELLED = "cancelled"  #: somebody asked for it
    INTERRUPTED = "interrupted"  #: a person has to decide something first
    LOST = "lost"  #: another claim has the thread
    HANDED_OVER = "handed_over"  #: this process ends, another one goes on


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run ends here."""

    kind: StopKind
    error: BatonError | None = None
    #: The final output, where the agent came to its end.
    result: Any = None
    #: What a person has to decide.
    asked: tuple[Question, ...] = ()


class CarriedRun:
    """One claimed run and everything that belongs to this claim."""

    #: Whether it is only tried: nothing of the author's that could have an effect may run.
    rehearsed = False

    def __init__(
        self,
        claimed: ClaimedRun,
        *,
        record: Record,
        outbox: Outbox,
        run_config: Callable[[RunConfig | None], RunConfig],
        trace: RunTrace,
    ) -> None:
        self.claimed = claimed
        self.record = record
        self.outbox = outbox
        self.run_config = run_config
        self.trace = trace
        self.earlier = Earlier(claimed)
        self.stage = Stage(outbox.emit)
        self.committer = Committer(
            record,
            claimed,
            outbox,
            spans=trace.take,
            cut_off=trace.cut_off,
            stored=trace.stored,
            refused=self._refused,
        )
        self._given_away = asyncio.Event()
        self._begun = time.monotonic()
        self._silent = True
        self.begin()

    def begin(self) -> None:
        """Stand at the beginning of the journal; again where the first way led elsewhere."""
        claimed = self.claimed
        self.journal = Journal(claimed.journal)
        #: Whether a live step has begun.
        self.live = False
        #: The snapshot that replay begins with, and what begins to take a new one, if one is due.
        self.restored: Restored | None = None
        self.begin_snapshot: Callable[[Scope], asyncio.Task[str | None] | None] = lambda _: None
        self.root = Scope()
        self.context: Any = context_of(claimed)  # until there is one of the agent's own class
        self.home = Home()
        self.stopped: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        #: Messages of finished root steps, in order; and of calls being written now.
        self.shown: list[dict[str, Any]] = []
        self.writing: list[Callable[[], list[dict[str, Any]]]] = []
        self.answered: set[str] = set()
        #: Results shown since the last root step, of calls that no tool carried out.
        self.uncalled: list[dict[str, Any]] = []
        #: Calls whose result tells the model of a failure.
        self.failed_calls: set[str] = set()
        self.usage: dict[str, dict[str, int]] = {}
        #: Context objects by the name of the scope that brought them in.
        self.contexts: dict[str, ContextWatch] = {}
        self.sessions = Sessions(self.step)
        self.approvals = Approvals(claimed.decisions)
        self.client_tools: Sequence[FunctionTool] = ()
        self.parking = Parking(self.home, partial(self._interrupt, self.stopped))
        self._call_ids: set[str] = set()

    # ------------------------------------------------------------------ stopping
    def stop(self, stop: Stop) -> None:
        """Ask the driver to end the run; the first reason counts."""
        if not self.stopped.done():
            self.stopped.set_result(stop)

    def waits_for(self, interruptions: Sequence[ToolApprovalItem]) -> Stop:
        """How a run ends that cannot go on without a person.

        Raises:
            BatonError: `agent_error`, the agent's code has made up what it asks.
        """
        if self.committer.cancelled:
            return Stop(StopKind.CANCELLED)
        asked = self.approvals.questions(interruptions, self.client_tools)
        return Stop(StopKind.INTERRUPTED, asked=asked)

    def _interrupt(
        self, stopped: asyncio.Future[Stop], interruptions: Sequence[ToolApprovalItem]
    ) -> None:
        if stopped is self.stopped:  # else this way was left for another one
            try:
                self.stop(self.waits_for(interruptions))
            except BatonError as error:
                self.stop(Stop(StopKind.FAILED, error))

    async def park(self, stop: Stop) -> NoReturn:
        """Stop the run from inside agent code: this call never returns, the driver cancels it."""
        self.home.soon(self.stop, stop)
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")

    @property
    def handing_over(self) -> bool:
        """Whether another process is to go on, from the next step at the latest."""
        return self._given_away.is_set()

    def hand_over(self) -> None:
        """Another process is to go on: at the next step, or at once where only a wait goes on."""
        self._given_away.set()

    async def waiting(self, wait: Coroutine[Any, Any, None]) -> None:
        """Wait for something that holds nothing of this run; a hand-over ends it."""
        tasks = [asyncio.create_task(one) for one in (wait, self._given_away.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            over = tasks[0].done()
            if over:
                tasks[0].result()  # raises what the wait raised
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not over:
            await self.park(Stop(StopKind.HANDED_OVER))

    def _refused(self, error: BatonError) -> None:
        lost = error.code in LOST
        self.stop(Stop(StopKind.LOST if lost else StopKind.FAILED, error))

    def leave(self, scope: Scope) -> None:
        """What ran in a scope has ended; so has what it showed."""
        self.home.soon(self.stage.leave, scope)

    # ------------------------------------------------------------------ steps
    async def step(
        self,
        scope: Scope,
        key: Key,
        digest: str,
        live: Callable[[], Awaitable[dict[str, Any]]],
        *,
        inside: Scope | None = None,
    ) -> dict[str, Any]:
        """The record of a step: replayed if there is one, else made by `live` and committed.

        Both come out of JSON, so that a replayed step gives exactly what the live one gave. The
        record of what ran `inside` a scope stands for all that was recorded there.
        """
        with self.parking.at_work((*scope.path, f"{key.kind}:{key.place}")):
            return await self._step(scope, key, digest, live, inside)

    async def _step(
        self,
        scope: Scope,
        key: Key,
        digest: str,
        live: Callable[[], Awaitable[dict[str, Any]]],
        inside: Scope | None,
    ) -> dict[str, Any]:
        try:
            recorded = await self.home.run(self.journal.take, key)
        except OtherPathError as error:
            await self.park(Stop(StopKind.FAILED, other_path(error)))
        if recorded is not None:
            self.trace.silent = True
            record = await self._replayed(key, digest, recorded)
            if inside is not None:
                for one in await self.home.run(self.journal.pass_over, inside.name):
                    self.recall(key, parsed(one) or {})
            self.recall(key, record)
            return record
        self.trace.silent, self.live = False, True
        # What agent code makes of its cancellation begins nothing: the first stop counts.
        if self.handing_over or self.stopped.done():
            await self.park(Stop(StopKind.HANDED_OVER))
        if self.committer.cancelled:
            await self.park(Stop(StopKind.CANCELLED))
        made = await live()
        if not scope.nested and self.uncalled:
            made, self.uncalled = made | {"uncalled": self.uncalled}, []
        if scope.context is not None and (changes := scope.context.changes()):
            made = made | {"context": changes}
        text = orjson.dumps(made).decode()
        await self.home.run(self.committer.step, recorded_as(key, digest, text))
        if self.committer.cancelled:
            await self.park(Stop(StopKind.CANCELLED))
        made_of: dict[str, Any] = orjson.loads(text)
        return made_of

    def recall(self, key: Key, record: dict[str, Any]) -> None:
        """What a replayed step means besides its outcome."""
        for message in record.get("uncalled", ()):
            self.shown.append(message)
            self.answered.add(message["toolCallId"])
        if (model := record.get("model")) and not self.earlier.made(key):
            self.used(model, record["usage"])
        changes = record.get("context")
        if changes and (context := self.contexts.get(changes["of"])):
            context.apply(changes)

    async def _replayed(self, key: Key, digest: str, recorded: StepRecord) -> dict[str, Any]:
        try:
            return replayable(key, digest, recorded)
        except BatonError as error:
            return await self.park(Stop(StopKind.FAILED, error))

    def unique_call_id(self, given: str) -> str:
        """Call ids are unique per run; some local servers repeat theirs, or send none."""
        found = given or new_id("call")
        if found in self._call_ids:
            found = new_id("call")
        self._call_ids.add(found)
        return found

    def saw_call_ids(self, ids: list[str]) -> None:
        """Call ids of a replayed response."""
        self._call_ids.update(ids)

    def waits_for_result_of(self, call_id: str) -> bool:
        """Whether a model has made this call here, and nobody has shown what came of it."""
        return call_id in self._call_ids and call_id not in self.answered

    def first_delta(self) -> None:
        """The model has begun to answer."""
        if self._silent:
            self._silent = False
            FIRST_EVENT_SECONDS.observe(time.monotonic() - self._begun)

    def used(self, model: str, usage: dict[str, int]) -> None:
        """Add a model call's tokens."""
        total = self.usage.setdefault(model, {})
        for name, count in usage.items():
            total[name] = total.get(name, 0) + count

    @property
    def conversation(self) -> list[dict[str, Any]]:
        """What was said before this run, and what the person said in it."""
        return [*self.claimed.history, *self.claimed.messages]

    def messages(self) -> list[dict[str, Any]]:
        """What this run leaves in the conversation, half-written text included."""
        shown = [*self.shown, *(one for writing in self.writing for one in writing())]
        return [one for one in shown if one["id"] not in self.earlier.shown]


#: The run that some code belongs to; agent code finds it wherever contextvars reach.
CARRIED: ContextVar[CarriedRun | None] = ContextVar("baton_run", default=None)
