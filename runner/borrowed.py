"""The SDK of a process that is not a runner's, for as long as it runs agents as runners do.

A runner patches the SDK's Runner for good: an invocation outside of a run is an error there. Tests
use the plain SDK beside.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agents import Agent, InputGuardrail, OutputGuardrail, ToolInputGuardrail, ToolOutputGuardrail
from agents.agent import AgentBase
from agents.run import AgentRunner

from runner.invocations import patch_runner
from runner.natives import ACTIONS

#: What a patch changes that plain use of the SDK would notice.
PATCHED: tuple[tuple[Any, str], ...] = (
    *((AgentRunner, name) for name in ("run", "run_streamed")),
    (Agent, "get_system_prompt"),
    *((AgentBase, name) for name in ("get_all_tools", "get_mcp_tools")),
    *(
        (kind, "run")
        for kind in (InputGuardrail, OutputGuardrail, ToolInputGuardrail, ToolOutputGuardrail)
    ),
    *((action, "execute") for action in ACTIONS),
)


@contextmanager
def patched_sdk() -> Iterator[None]:
    """The SDK as runners have it, for the block, in all threads."""
    plain = [(owner, name, vars(owner)[name]) for owner, name in PATCHED]
    patch_runner()
    try:
        yield
    finally:
        for owner, name, function in plain:
            setattr(owner, name, function)
