"""What agents do is counted, and nothing again in a replay."""

from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from baton.testing import AgentUnderTest, baton_agent, calls
from tests.runner.features.test_features import AGENTS

__all__ = ["baton_agent"]  # the fixture


def counted(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"baton_{metric}_total", labels) or 0


@pytest.mark.parametrize(
    ("agent", "script", "metric", "label"),
    [
        ("HandOff", [calls("transfer_to_billing"), "x"], "hand_offs", {}),
        ("SyncTool", [calls("add", a=1, b=2), "x"], "agent_calls", {"outcome": "ok"}),
        ("ToolFails", [calls("plain"), "x"], "agent_calls", {"outcome": "failed"}),
        ("ToolRaises", [calls("fragile")], "agent_calls", {"outcome": "raised"}),
        ("OutputGuardrail", ["x"], "guardrails", {"verdict": "passed"}),
        ("OutputGuardrail", ["1"], "guardrails", {"verdict": "tripped"}),
        (
            "ToolGuardrails",
            [calls("read", file="root"), "x"],
            "guardrails",
            {"verdict": "rejected"},
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_it_is_counted_once(
    agent: str,
    script: list[object],
    metric: str,
    label: dict[str, str],
    baton_agent: Callable[..., AgentUnderTest],
) -> None:
    before = counted(metric, agent=agent, **label)
    ended = baton_agent(AGENTS / agent).run("go", script)
    ended.check_replay()
    assert counted(metric, agent=agent, **label) == before + 1


def test_hooks_are_counted_by_name(baton_agent: Callable[..., AgentUnderTest]) -> None:
    before = counted("hooks", hook="on_tool_start")
    baton_agent(AGENTS / "Hooks").run("go", [calls("seen"), calls("seen"), "x"])
    assert counted("hooks", hook="on_tool_start") == before + 2
    baton_agent(AGENTS / "SyncTool").run("go", [calls("add", a=1, b=2), "x"])
    assert counted("hooks", hook="on_tool_start") == before + 2
