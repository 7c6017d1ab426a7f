"""Who is on stage: STEP_* for the agent that works, SUBAGENT_* around nested invocations.

Events are opened by the first live step and never by a replayed one, so a take-over shows only what
really goes on.
"""

from collections.abc import Callable
from typing import Any

from runner.scope import Scope


class Stage:
    """Opens and closes steps and sub-agents of one run."""

    def __init__(self, emit: Callable[[dict[str, Any]], object]) -> None:
        self._emit = emit
        self._open: list[Scope] = []  # nested invocations on stage, in the order they came

    def enter(self, scope: Scope, agent: str) -> None:
        """A live step of `agent` begins inside an invocation."""
        if scope.nested and scope not in self._open:
            self._enter_subagent(scope)
        if scope.step == agent:
            return
        self._end_step(scope)
        scope.step = agent
        self._emit({"type": "STEP_STARTED", "stepName": agent} | self._inside(scope))

    def leave(self, scope: Scope) -> None:
        """An invocation has ended, and with it what it left open inside, the newest first."""
        inside = [one for one in self._open if one.path[: len(scope.path)] == scope.path]
        for one in reversed(inside):
            self._end_step(one)
            self._open.remove(one)
            ended = {"type": "SUBAGENT_FINISHED", "subagentRunId": one.shown_as()}
            outcome = {"outcome": {"type": "suspended"}} if one.suspended else {}
            self._emit(ended | outcome)
            one.left_as, one.subagent = one.subagent, None
        self._end_step(scope)

    def subagent(self, scope: Scope) -> str | None:
        """Under which sub-agent the events of an invocation are shown."""
        return scope.shown_as() if scope.nested else None

    def _enter_subagent(self, scope: Scope) -> None:
        outer = _invocation_around(scope)
        if outer is not None and outer.nested and outer not in self._open:
            self._enter_subagent(outer)
        self._open.append(scope)
        started = {
            "type": "SUBAGENT_STARTED",
            "subagentRunId": scope.shown_as(),
            "name": scope.agent,
        }
        if scope.call_id:
            started["parentToolCallId"] = scope.call_id
        if outer is not None and outer.nested:
            started["parentSubagentRunId"] = outer.shown_as()
        self._emit(started)

    def _end_step(self, scope: Scope) -> None:
        if scope.step is not None:
            self._emit({"type": "STEP_FINISHED", "stepName": scope.step} | self._inside(scope))
            scope.step = None

    def _inside(self, scope: Scope) -> dict[str, str]:
        subagent = self.subagent(scope)
        return {"subagentRunId": subagent} if subagent else {}


def _invocation_around(scope: Scope) -> Scope | None:
    """The invocation whose tool call or guardrail made this one."""
    outer = scope.parent
    while outer is not None and not (outer.path and outer.path[-1].startswith("run:")):
        outer = outer.parent
    return outer
