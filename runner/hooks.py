"""Hooks of the author fire for what really happens, and not again for what is replayed.

What follows the newest recorded step of a scope may or may not have fired before the crash, so its
end hooks fire then: at least once. Our own part is done in any case: who works now is known, and
agents made on the way are wrapped.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from agents import Agent, AgentHooks, RunHooks

from runner.carried import CARRIED
from runner.journal import Key
from runner.scope import SCOPE
from runner.steps import parsed
from runner.theirs import theirs
from shared.protocol.ids import place_of
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import HAND_OFFS, HOOKS

log = get_logger(__name__)


def turn_begins() -> bool:
    """Whether the model call that comes next here is live."""
    run, scope = CARRIED.get(), SCOPE.get()
    if run is None or scope is None:
        return True
    key = Key(scope.name, "model", str(scope.position))
    return not run.rehearsed and run.journal.holds(key) is None


def turn_ended() -> bool:
    """Whether what follows the last model call here has to be done (again)."""
    run, scope = CARRIED.get(), SCOPE.get()
    if run is None or scope is None:
        return True
    key = Key(scope.name, "model", str(scope.position - 1))
    return not (run.rehearsed or run.journal.past(key))


def foresee_changes() -> None:
    """Put into the context what had changed before the coming model call, where that is recorded.

    What changed it (a hook, a hand-off) is not called again, and the instructions may read it.
    """
    run, scope = CARRIED.get(), SCOPE.get()
    if run is None or scope is None:
        return
    recorded = run.journal.holds(Key(scope.name, "model", str(scope.position)))
    if recorded is None or '"context":' not in recorded.record:  # which is cheaper than to parse it
        return
    changes = (parsed(recorded) or {}).get("context")
    if changes and (context := run.contexts.get(changes["of"])):
        context.apply(changes)


def call_begins(context: Any) -> bool:
    """Whether a tool call is live."""
    run, scope = CARRIED.get(), SCOPE.get()
    call_id = getattr(context, "tool_call_id", None)
    if run is None or scope is None or call_id is None:
        return True
    place = place_of(call_id)
    return not (run.rehearsed or run.journal.knows_call(scope.name, place))


def call_ended(context: Any) -> bool:
    """Whether what follows a tool call has to be done (again)."""
    run, scope = CARRIED.get(), SCOPE.get()
    call_id = getattr(context, "tool_call_id", None)
    if run is None or scope is None or call_id is None:
        return True
    keys = (Key(scope.name, kind, place_of(call_id)) for kind in ("tool", "shown"))
    return not (run.rehearsed or any(run.journal.past(key) for key in keys))


@contextmanager
def _hook(name: str, *, counts: bool = True) -> Iterator[None]:
    """The author's hook, in the block; without one the SDK's own does nothing, which is no news."""
    if counts:
        HOOKS.labels(name).inc()
    with theirs():
        yield


class ComposedHooks(RunHooks[Any]):
    """Hooks of one invocation: ours first, then the author's own."""

    def __init__(self, author: RunHooks[Any] | None, wrap: Callable[[Agent[Any]], None]) -> None:
        self._author: RunHooks[Any] = author or RunHooks()
        self._counts = author is not None
        self._wrap = wrap

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        """An agent begins, or has taken over from another."""
        if isinstance(agent, Agent):
            self._wrap(agent)
        if (scope := SCOPE.get()) is not None:
            scope.agent = agent.name
        if turn_begins():
            with _hook("on_agent_start", counts=self._counts):
                await self._author.on_agent_start(context, agent)

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        """The author's hook."""
        if turn_ended():
            with _hook("on_agent_end", counts=self._counts):
                await self._author.on_agent_end(context, agent, output)

    async def on_llm_start(
        self, context: Any, agent: Any, system_prompt: Any, input_items: Any
    ) -> None:
        """The author's hook."""
        if turn_begins():
            with _hook("on_llm_start", counts=self._counts):
                await self._author.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        """A model has answered: what people have decided about its calls is told to the SDK."""
        run, scope = CARRIED.get(), SCOPE.get()
        if run is not None and scope is not None:
            run.approvals.decide(scope, context, agent, response)
        if turn_ended():
            with _hook("on_llm_end", counts=self._counts):
                await self._author.on_llm_end(context, agent, response)

    async def on_handoff(self, context: Any, from_agent: Any, to_agent: Any) -> None:
        """The author's hook; the SDK calls it by keyword."""
        if turn_ended():
            if (run := CARRIED.get()) is not None:
                HAND_OFFS.labels(run.claimed.agent).inc()
            log.debug("hands off", of=from_agent.name, to=to_agent.name)
            with _hook("on_handoff", counts=self._counts):
                await self._author.on_handoff(
                    context=context, from_agent=from_agent, to_agent=to_agent
                )

    async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
        """The author's hook."""
        if call_begins(context):
            with _hook("on_tool_start", counts=self._counts):
                await self._author.on_tool_start(context, agent, tool)

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
        """The author's hook."""
        if call_ended(context):
            with _hook("on_tool_end", counts=self._counts):
                await self._author.on_tool_end(context, agent, tool, result)


class AgentsOwnHooks(AgentHooks[Any]):
    """`agent.hooks`, under the same rules."""

    def __init__(self, author: AgentHooks[Any]) -> None:
        self.author = author

    async def on_start(self, context: Any, agent: Any) -> None:
        """The author's hook."""
        if turn_begins():
            with _hook("on_start"):
                await self.author.on_start(context, agent)

    async def on_end(self, context: Any, agent: Any, output: Any) -> None:
        """The author's hook."""
        if turn_ended():
            with _hook("on_end"):
                await self.author.on_end(context, agent, output)

    async def on_llm_start(
        self, context: Any, agent: Any, system_prompt: Any, input_items: Any
    ) -> None:
        """The author's hook."""
        if turn_begins():
            with _hook("on_llm_start"):
                await self.author.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        """The author's hook."""
        if turn_ended():
            with _hook("on_llm_end"):
                await self.author.on_llm_end(context, agent, response)

    async def on_handoff(self, context: Any, agent: Any, source: Any) -> None:
        """The author's hook; the SDK calls it by keyword."""
        if turn_ended():
            with _hook("on_handoff"):
                await self.author.on_handoff(context, agent=agent, source=source)

    async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
        """The author's hook."""
        if call_begins(context):
            with _hook("on_tool_start"):
                await self.author.on_tool_start(context, agent, tool)

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
        """The author's hook."""
        if call_ended(context):
            with _hook("on_tool_end"):
                await self.author.on_tool_end(context, agent, tool, result)


def journaled_hooks(hooks: AgentHooks[Any] | None) -> AgentHooks[Any] | None:
    """An agent's own hooks under our rules; wrapping again changes nothing."""
    if hooks is None or isinstance(hooks, AgentsOwnHooks):
        return hooks
    return AgentsOwnHooks(hooks)
