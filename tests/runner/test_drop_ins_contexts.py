"""Agents with a context class of their own: known by annotations, made by the file."""

from pathlib import Path
from typing import Any

import pytest

from runner.drop_ins.exports import ContextFactory, NoExportError
from runner.drop_ins.load import LoadedAgent
from runner.trials import load_at

HEAD = """
from dataclasses import dataclass
from typing import Any
from agents import (
    Agent, AgentHooks, GuardrailFunctionOutput, RunContextWrapper, function_tool, handoff,
    input_guardrail, output_guardrail,
)
from agents.tool_context import ToolContext
from baton import RunContext

@dataclass
class Shop:
    basket: list

"""
FACTORY = "\ndef create_context(run: RunContext) -> Shop:\n    return Shop([])\n"


def loaded(folder: Path, code: str) -> LoadedAgent:
    file = folder / "One" / "agent.py"
    file.parent.mkdir()
    file.write_text(HEAD + code)
    return load_at(file.parent)


WANTED = {
    "generic": "agent = Agent[Shop](name='One')",
    "instructions": (
        "def told(context: RunContextWrapper[Shop], agent: Agent[Shop]) -> str: return ''\n"
        "agent = Agent(name='One', instructions=told)"
    ),
    "text annotation": (
        "def told(context: 'RunContextWrapper[Shop]', agent) -> str: return ''\n"
        "agent = Agent(name='One', instructions=told)"
    ),
    "tool": (
        "@function_tool\n"
        "def buy(context: RunContextWrapper[Shop], what: str) -> str: return ''\n"
        "agent = Agent(name='One', tools=[buy])"
    ),
    "tool context": (
        "@function_tool\n"
        "async def buy(context: ToolContext[Shop], what: str) -> str: return ''\n"
        "agent = Agent(name='One', tools=[buy])"
    ),
    "hooks": (
        "class Hooks(AgentHooks[Shop]): pass\n"
        "agent = Agent(name='One', hooks=Hooks())"
    ),
    "hook": (
        "class Hooks(AgentHooks):\n"
        "    async def on_start(self, context: RunContextWrapper[Shop], agent): pass\n"
        "agent = Agent(name='One', hooks=Hooks())"
    ),
    "guardrail": (
        "@input_guardrail\n"
        "async def guard(context: RunContextWrapper[Shop], agent, given): ...\n"
        "agent = Agent(name='One', input_guardrails=[guard])"
    ),
    "predicate": (
        "def on(context: RunContextWrapper[Shop], agent) -> bool: return True\n"
        "@function_tool(is_enabled=on)\n"
        "def buy(what: str) -> str: return ''\n"
        "agent = Agent(name='One', tools=[buy])"
    ),
    "handed off to": "agent = Agent(name='Two', handoffs=[Agent[Shop](name='One')])",
    "hand-off": "agent = Agent(name='Two', handoffs=[handoff(Agent[Shop](name='One'))])",
    "as tool": "agent = Agent(name='Two', tools=[Agent[Shop](name='One').as_tool('x', 'y')])",
}  # fmt: skip


@pytest.mark.parametrize("case", WANTED)
def test_without_one_that_makes_it_the_class_is_named(tmp_path: Path, case: str) -> None:
    with pytest.raises(NoExportError) as refused:
        loaded(tmp_path, WANTED[case])
    assert "'One' is written for the context class Shop" in str(refused.value)
    assert "write `def create_context(run: baton.RunContext) -> Shop`" in str(refused.value)


@pytest.mark.parametrize("case", WANTED)
def test_with_one_it_is_served(tmp_path: Path, case: str) -> None:
    assert loaded(tmp_path, WANTED[case] + FACTORY).context is not None


@pytest.mark.parametrize(
    "code",
    [
        "agent = Agent(name='One')",
        "agent = Agent[RunContext](name='One')",
        "agent = Agent[Any](name='One')",
        "agent = Agent[None](name='One')",
        "agent = Agent[object](name='One')",
        (
            "@function_tool\n"
            "def buy(context: RunContextWrapper, shop: list[str]) -> str: return ''\n"
            "agent = Agent(name='One', tools=[buy])"
        ),
    ],
)
def test_agents_that_take_any_context_need_no_more(tmp_path: Path, code: str) -> None:
    assert loaded(tmp_path, code).context is None


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("name", ["create_context", "make_context", "build_context"])
@pytest.mark.parametrize("takes", [True, False])
def test_the_names_of_what_makes_it(tmp_path: Path, kind: str, name: str, takes: bool) -> None:
    code = f"agent = Agent[Shop](name='One')\n{kind} {name}({'run' * takes}): return Shop([])"
    made: Any = loaded(tmp_path, code).context
    assert isinstance(made, ContextFactory)
    assert (made.make.__name__, made.takes_context) == (name, takes)


@pytest.mark.parametrize("parameters", ["run, more", "*, more"])
def test_one_that_wants_more_than_anybody_knows_is_refused(tmp_path: Path, parameters: str) -> None:
    with pytest.raises(NoExportError, match="nobody can tell it `more`"):
        loaded(tmp_path, f"agent = Agent(name='One')\ndef create_context({parameters}): ...")
