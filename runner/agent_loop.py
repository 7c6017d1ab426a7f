"""The SDK's loop for one run: it works until the agent ends or somebody stops it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents import Agent, Model, Runner

from baton.files import DRAWER
from baton.tools import CALLER
from runner import codec
from runner.author_loop import answered_by, context_made_by, made_by, require_own_context
from runner.carried import CARRIED, CarriedRun, Stop, StopKind
from runner.client_tools import client_tools
from runner.compaction.threads import brought_to_size
from runner.drawer import drawer_of
from runner.drop_ins.exports import ContextFactory, Export, Factory
from runner.failures import failure_of
from runner.mcp_servers import SERVERS, Servers
from runner.models.journaled import JournaledModel
from runner.scope import SCOPE
from runner.showing import show_left
from runner.snapshots import Snapshots, restored
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import place_of
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

CANCELLED_ITSELF = "The agent's own code cancelled the run's task."
#: Agent code that is cancelled gets this long to let go.
LETTING_GO_S = 5.0


class AgentLoop:
    """Runs an agent on a carried run's conversation."""

    def __init__(
        self,
        run: CarriedRun,
        export: Export,
        *,
        max_turns: int,
        replays: asyncio.Semaphore,
        code: str | None = None,
        context: ContextFactory | None = None,
    ) -> None:
        self.run, self._export, self.max_turns, self._code = run, export, max_turns, code
        self._replays, self._context = replays, context
        #: What the agent is given of the conversation.
        self._given: list[dict[str, Any]] = []

    async def drive(self) -> Stop:
        """Run the agent until it ends or somebody stops it; agent code never sees a stop.

        What fails between a snapshot and the first live step may be the snapshot's fault, and
        nothing has happened: all of the journal is replayed then.
        """
        if self.run.claimed.cancelled:
            return Stop(StopKind.CANCELLED)
        stop = await self._attempt(from_snapshot=True)
        if stop.kind is StopKind.FAILED and self.run.restored and not self.run.live:
            log.warning("failed after a snapshot; replays all of it", error=str(stop.error))
            self.run.begin()
            stop = await self._attempt(from_snapshot=False)
        return stop

    async def _attempt(self, *, from_snapshot: bool) -> Stop:
        servers = Servers(self.run.home)
        working = asyncio.create_task(
            self._run_agent(servers, from_snapshot=from_snapshot),
            name=f"agent {self.run.claimed.run_id}",
        )
        try:
            await asyncio.wait({working, self.run.stopped}, return_when=asyncio.FIRST_COMPLETED)
            if self.run.stopped.done():
                return self.run.stopped.result()
            if working.cancelled():
                return Stop(StopKind.FAILED, BatonError(Code.AGENT_ERROR, CANCELLED_ITSELF))
            return working.result()
        except Exception as error:
            failure = failure_of(error)
            unexpected = error if failure.code is Code.AGENT_ERROR else None
            log.info(
                "the run failed", code=failure.code, error=failure.message, exc_info=unexpected
            )
            return Stop(StopKind.FAILED, failure)
        finally:
            working.cancel()
            self.run.home.call_back()
            servers.close()
            await asyncio.wait({working}, timeout=LETTING_GO_S)

    async def _run_agent(self, servers: Servers, *, from_snapshot: bool) -> Stop:
        CARRIED.set(self.run)
        SCOPE.set(self.run.root)
        CALLER.set(self._call_tool)
        SERVERS.set(servers)
        offered = self.run.claimed.input.get("tools") or ()
        self.run.client_tools = client_tools(offered, self.run.approvals.result_of)
        DRAWER.set(drawer_of(self.run))
        async with self._turn_to_replay():
            if isinstance(self._export, Factory):
                agent = await made_by(self._export, self.run)
                require_own_context(agent, self._context)
            elif isinstance(self._export, Agent):
                agent = self._export
            else:
                return await answered_by(self._export, self.run, await self._input(None))
            if self._context is not None:
                self.run.context = await context_made_by(self._context, self.run)
            self._given = await self._input(agent.model)
            if from_snapshot:
                await self._restore(agent)
            return await self._stream(agent)

    async def _restore(self, agent: Agent[Any]) -> None:
        if self._code is not None:
            self.run.restored = await restored(
                self.run, agent, self._given, code=self._code, max_turns=self.max_turns
            )

    async def _input(self, named: str | Model | None) -> list[dict[str, Any]]:
        """The caller's instructions come after the agent's own, and before what was said."""
        instructions = self.run.claimed.input.get("instructions") or ()
        told = [{"role": "developer", "content": text} for text in instructions]
        return [*told, *await brought_to_size(self.run, self._model(named))]

    def _model(self, named: str | Model | None) -> JournaledModel | None:
        """The model that the agent begins with, as far as it is known before it is asked."""
        if not isinstance(named, Model):
            try:
                named = self.run.run_config(None).model_provider.get_model(named)
            except Exception:  # noqa: BLE001 - whoever calls it is told
                return None
        return named if isinstance(named, JournaledModel) else None

    @asynccontextmanager
    async def _turn_to_replay(self) -> AsyncIterator[None]:
        """Wait for one of the few places where replays go on; it is free again at the live part."""
        if not self.run.journal.replaying:
            yield
            return
        await self._replays.acquire()
        leaving = asyncio.create_task(self.run.journal.replayed.wait(), name="replay")
        leaving.add_done_callback(lambda _: self._replays.release())
        try:
            yield
        finally:
            leaving.cancel()

    async def _stream(self, agent: Agent[Any]) -> Stop:
        found = self.run.restored
        begun_with: Any = found.state if found else self._given
        result = Runner.run_streamed(
            agent, begun_with, context=self.run.context, max_turns=self.max_turns
        )
        if self._code is not None:
            after = found.position if found else 0
            snapshots = Snapshots(self.run, result, code=self._code, after=after)
            self.run.begin_snapshot = snapshots.begin
        async for event in result.stream_events():
            if event.type == "run_item_stream_event" and event.name == "tool_output":
                show_left(self.run, self.run.root, [event.item])
        if result.interruptions:
            return self.run.waits_for(result.interruptions)
        return Stop(StopKind.FINISHED, result=result.final_output)

    async def _call_tool(self, name: str, arguments: Any, call_id: str) -> Any:
        """A tool of toolsvc; an error that is not for the model ends the run."""
        run, scope = self.run, SCOPE.get()
        try:
            result = await run.home.run(
                run.record.call_tool,
                name,
                arguments,
                token=run.committer.token,
                call_id=place_of(call_id),
                scope=scope.name if scope else "",
            )
            return codec.as_text(result)
        except BatonError as error:
            if error.details.get("onError") == "model":
                run.failed_calls.add(call_id)
                return f"The tool failed: {error.message}"
            lost = error.code is Code.FENCED
            return await run.park(Stop(StopKind.LOST if lost else StopKind.FAILED, error))
