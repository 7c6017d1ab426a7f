"""Every invocation of the SDK's Runner belongs to a run: agents as tools and helpers included.

The Runner is patched on its class, because code that makes an `AgentRunner` of its own would go
around anything less.
"""

from typing import Any

from agents.run import AgentRunner

from runner.carried import CARRIED, CarriedRun
from runner.hooks import ComposedHooks
from runner.models.digest import short_digest
from runner.scope import SCOPE, NoRunContextError, Scope
from runner.wrap import wrap_agent


def patch_runner() -> None:
    """Make every invocation of the SDK's Runner in this process belong to a run; once."""
    if getattr(AgentRunner.run, "_baton", False):
        return
    run, run_streamed = AgentRunner.run, AgentRunner.run_streamed

    async def journaled_run(self: Any, starting_agent: Any, input: Any, **kwargs: Any) -> Any:  # noqa: A002
        carried, scope = _enter(starting_agent, input, kwargs)
        inside = SCOPE.set(scope)
        try:
            return await run(self, starting_agent, input, **kwargs)
        finally:
            SCOPE.reset(inside)
            if scope.nested:
                carried.stage.leave(scope)

    def journaled_streamed(self: Any, starting_agent: Any, input: Any, **kwargs: Any) -> Any:  # noqa: A002
        # The scope is taken in this call: its task copies the context here.
        _, scope = _enter(starting_agent, input, kwargs)
        inside = SCOPE.set(scope)
        try:
            return run_streamed(self, starting_agent, input, **kwargs)
        finally:
            SCOPE.reset(inside)

    journaled_run._baton = True  # type: ignore[attr-defined]
    AgentRunner.run = journaled_run  # type: ignore[method-assign]
    AgentRunner.run_streamed = journaled_streamed  # type: ignore[method-assign]


def _enter(agent: Any, given: Any, kwargs: dict[str, Any]) -> tuple[CarriedRun, Scope]:
    carried, around = CARRIED.get(), SCOPE.get()
    if carried is None or around is None:
        raise NoRunContextError("The SDK's Runner")
    wrap_agent(agent)
    kwargs["hooks"] = ComposedHooks(kwargs.get("hooks"))
    kwargs["run_config"] = carried.run_config(kwargs.get("run_config"))
    return carried, around.invocation(agent.name, short_digest(given))
