"""What the SDK offers comes to the same here as with the SDK alone, and is replayed."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest
from agents import (
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelBehaviorError,
    ModelRefusalError,
    OutputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
    UserError,
)
from agents.testing import ScriptedModel, assistant_message

from baton.testing import AgentUnderTest, Ended, baton_agent
from stack.program import ROOT
from tests.runner.features.plain import plainly
from tests.runner.features.seen import Seen, asked_of
from tests.runner.features.stories import STORIES, Story

__all__ = ["baton_agent"]  # the fixture

AGENTS = ROOT / "tests" / "fixtures" / "features"
#: Which code clients get for what the SDK raises.
CODES: dict[type[Exception], str] = {
    InputGuardrailTripwireTriggered: "guardrail_tripped",
    MaxTurnsExceeded: "max_turns",
    ModelBehaviorError: "upstream_invalid",
    ModelRefusalError: "agent_error",
    OutputGuardrailTripwireTriggered: "guardrail_tripped",
    ToolOutputGuardrailTripwireTriggered: "guardrail_tripped",
    UserError: "agent_error",
}


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replays need not wait for stragglers: nobody dies here."""
    monkeypatch.setattr("runner.journal.QUIET_S", 0.05)


def test_every_agent_has_a_story() -> None:
    folders = {one.name for one in AGENTS.iterdir()}
    assert {one.agent for one in STORIES} == folders
    assert len(folders) >= 25


def test_the_guide_names_every_agent_and_no_other() -> None:
    guide = (ROOT / "docs" / "drop-in-agents.md").read_text()
    table = guide.partition("## What of the SDK runs here")[2].partition("## ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("|")][2:]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row[2])]
    assert sorted(named) == sorted(one.name for one in AGENTS.iterdir())
    tests = [path for row in rows for path in re.findall(r"`([\w/]+\.py)`", row[3])]
    assert [path for path in tests if not (ROOT / path).is_file()] == []


@pytest.mark.asyncio
@pytest.mark.parametrize("story", STORIES, ids=str)
async def test_it_comes_to_the_same_as_with_the_sdk_alone(
    story: Story, baton_agent: Callable[..., AgentUnderTest]
) -> None:
    plain = await plainly(story, _scripted(story), AGENTS / story.agent)
    model = _scripted(story)
    agent = baton_agent(AGENTS / story.agent, max_turns=4)
    first = ended = agent.run(story.said, model, metadata=story.metadata)
    first.check_replay()
    if story.verdicts:
        ended = first.resume(*story.verdicts)
        ended.check_replay()
    assert _seen(first, ended, model, plain) == dataclasses.replace(plain, error=None)
    assert (ended.error and ended.error.code) == story.code
    assert (CODES[plain.error] if plain.error else None) == story.code
    end = "RUN_ERROR" if story.code else "RUN_FINISHED"
    assert ended.events[-1]["type"] == end


def _scripted(story: Story) -> ScriptedModel:
    return ScriptedModel(
        [assistant_message(one)]
        if isinstance(one, str)
        else one
        if isinstance(one, (list, Exception))
        else [one]
        for one in story.script()
    )


def _seen(first: Ended, ended: Ended, model: ScriptedModel, plain: Seen) -> Seen:
    by_us = plain.last_agent is not None
    events = [*first.events, *(ended.events if ended is not first else [])]
    working = [
        one["stepName"]
        for one in events
        if one["type"] == "STEP_STARTED" and "subagentRunId" not in one
    ]
    return Seen(
        final_output=repr(ended.final_output),
        calls=_calls(events) if by_us else [],
        last_agent=working[-1] if by_us and working else plain.last_agent,
        error=None,
        asked=asked_of(model),
    )


def _calls(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    own = [one for one in events if "subagentRunId" not in one]
    names = {
        one["toolCallId"]: one["toolCallName"] for one in own if one["type"] == "TOOL_CALL_START"
    }
    arguments = dict.fromkeys(names, "")
    for one in own:
        if one["type"] == "TOOL_CALL_ARGS":
            arguments[one["toolCallId"]] += one["delta"]
    return [(name, arguments[call_id]) for call_id, name in names.items()]
