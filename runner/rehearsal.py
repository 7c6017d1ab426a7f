"""Rehearsals: whether a run under way can be replayed with the code that is here.

The SDK's loop runs as it does in a take-over, and is stopped where it would first do something:
no model is called, no tool, no guardrail and no hook of the author runs, no session is written,
and nobody hears of it. What replay itself runs again, it runs (dynamic instructions, filters,
predicates): those have to be pure.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from agents import Model, ModelProvider, ModelResponse, RunConfig
from agents.memory import Session

from runner import journal
from runner.agent_loop import AgentLoop
from runner.carried import CarriedRun, Stop, StopKind
from runner.catalog import Catalog
from runner.configure import RunConfigs
from runner.journal import Key
from runner.models.journaled import JournaledModel
from runner.outbox import Outbox
from runner.scope import Scope
from runner.sessions import JournaledSession, Sessions
from shared.protocol.codes import Code
from shared.protocol.record import ClaimedRun
from shared.protocol.rehearsal import Ending, Rehearsed, WhoseCode
from shared.settings import RunnerSettings

#: A replay of 300 turns takes some seconds; agent code may wait for what will never come.
PATIENCE_S = 60.0
#: More than any run has made: how many it may make is not the journal's business.
MAX_TURNS = 1_000_000

_DIVERGED = (Code.JOURNAL_DIVERGED, Code.INVALID_STATE)


class Rehearsal(CarriedRun):
    """A run under way that nobody has claimed; it can only be replayed."""

    rehearsed = True

    def __init__(self, claimed: ClaimedRun) -> None:
        nobody: Any = Nobody()
        outbox = Outbox(
            thread=claimed.thread,
            run_id=claimed.run_id,
            fence=claimed.fence,
            starts=[],
            ttl_s=1,
            changed=lambda _: None,
        )
        super().__init__(
            claimed.model_copy(update={"cancelled": False, "snapshot": None}),
            record=nobody,
            outbox=outbox,
            run_config=_config_of(claimed),
            trace=nobody,
        )
        #: The first step that is not recorded; and how many were recorded inside of such steps.
        self.live_at: Key | None = None
        self.cut_off = 0
        self.hand_over()

    def begin(self) -> None:
        """See CarriedRun."""
        super().begin()
        self.sessions = _Unwritten(self.step)

    async def step(
        self,
        scope: Scope,
        key: Key,
        digest: str,
        live: Callable[[], Awaitable[dict[str, Any]]],
        *,
        inside: Scope | None = None,
    ) -> dict[str, Any]:
        """The record of a step; with the last one, or in its absence, the rehearsal is over."""
        if self.journal.holds(key) is None:
            self.live_at = self.live_at or key
            if inside is not None:  # it was cut off, and will be done again with all that is in it
                passed = await self.home.run(self.journal.pass_over, inside.name)
                self.cut_off += len(passed)
            if key.kind != "model":  # which tells more, and may come beside it
                await self.home.run(asyncio.sleep, 2 * journal.QUIET_S)
        record = await super().step(scope, key, digest, live, inside=inside)
        if not self.journal.replaying:
            await self.park(Stop(StopKind.HANDED_OVER))
        return record


async def rehearse(claimed: ClaimedRun, catalog: Catalog) -> Rehearsed:
    """Replay a run with the code it began with, where that is here, else with the newest."""
    told: dict[str, Any] = {
        "run": claimed.run_id,
        "thread": claimed.thread_id,
        "agent": claimed.agent,
        "digest": claimed.agent_digest,
        "steps": len(claimed.journal),
    }
    loaded = catalog.of(claimed.agent, claimed.agent_digest)
    if loaded is None:
        broken = catalog.broken.get(claimed.agent, "there is no agent of this name")
        return Rehearsed(**told, ending=Ending.NO_AGENT, why=broken)
    newest = catalog.agents.get(claimed.agent)
    same = claimed.agent_digest in (None, loaded.digest)
    told["code"] = (
        (WhoseCode.SAME if loaded is newest else WhoseCode.KEPT) if same else WhoseCode.OTHER
    )
    run = Rehearsal(claimed)
    loop = AgentLoop(
        run,
        loaded.export,
        max_turns=MAX_TURNS,
        replays=asyncio.Semaphore(1),
        context=loaded.context,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            ending, why = _judged(run, await loop.drive())
    except TimeoutError:
        ending, why = Ending.FAILS, f"It did not come to its end within {PATIENCE_S:.0f} s."
    replayed = told["steps"] - len(run.journal.left) - run.cut_off
    return Rehearsed(**told, ending=ending, replayed=replayed, why=why)


def _judged(run: Rehearsal, stop: Stop) -> tuple[Ending, str | None]:
    left, at = run.journal.left, run.live_at
    if stop.error is not None:
        ending = Ending.DIVERGES if stop.error.code in _DIVERGED else Ending.FAILS
        return ending, stop.error.message
    if not left:
        return Ending.REPLAYS, None
    if stop.kind is StopKind.FINISHED or at is None:
        return Ending.DIVERGES, f"The agent comes to its end with {len(left)} recorded steps left."
    where = f"{at.kind} step {at.place!r} of {at.scope!r}"
    why = f"It goes live at {where}, with {len(left)} recorded steps to come."
    return Ending.DIVERGES if at.kind == "model" else Ending.REPLAYS, why


def _config_of(claimed: ClaimedRun) -> Callable[[Any], RunConfig]:
    models: Any = _Models()
    make = RunConfigs(RunnerSettings.model_construct(), models).of(claimed)

    def config(given: Any) -> RunConfig:
        return dataclasses.replace(
            make(given), model=None, model_provider=models, tracing_disabled=True
        )

    return config


class _Models(ModelProvider):
    """Models that have only said what is recorded."""

    def get_model(self, model_name: str | None) -> Model:
        return JournaledModel(_NoModel(), model_name or "", timeout_s=PATIENCE_S)


class _NoModel(Model):
    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        raise AssertionError("a rehearsal asks no model")

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a rehearsal asks no model")


class _Unwritten(Sessions):
    """Sessions whose records are read, and to which nothing is written."""

    def of(self, session: Session, scope: Scope) -> Session:
        """Servers' own sessions get a stand-in as well."""
        return session if isinstance(session, JournaledSession) else self.journaled(session, scope)

    async def write(self, inside: Scope | None = None) -> None:
        """See Sessions: it ends here, and nothing is written."""
        for identity, _ in self.brought_along(inside):
            del self._kept[identity]


class Nobody:
    """In place of toolsvc and of the trace: nothing is told to anybody."""

    silent = True

    def take(self) -> list[Any]:
        """No spans."""
        return []

    cut_off = take

    def stored(self, _: Any) -> None:
        """Nothing is stored."""
