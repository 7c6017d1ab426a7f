"""Replays wait less for stragglers here than in production, and snapshots are taken at each turn.

The SDK is patched for a test only.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from agents import Agent, InputGuardrail, OutputGuardrail, ToolInputGuardrail, ToolOutputGuardrail
from agents.agent import AgentBase
from agents.run import AgentRunner

from runner.invocations import patch_runner
from runner.natives import ACTIONS

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


@pytest.fixture(autouse=True)
def _patched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("runner.journal.QUIET_S", 0.05)
    monkeypatch.setattr("runner.snapshots.EVERY_TURNS", 1)
    plain = [(owner, name, vars(owner)[name]) for owner, name in PATCHED]
    patch_runner()
    yield
    for owner, name, function in plain:
        setattr(owner, name, function)
