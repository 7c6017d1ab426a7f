"""What a file offers, by the names in it; and what it is told where it offers nothing."""

from pathlib import Path
from typing import Any

import pytest
from agents import Agent

from runner.drop_ins.exports import (
    Factory,
    Helper,
    NoExportError,
    RunnerFactory,
    export_of,
    known_to,
    shared_servers,
)
from runner.drop_ins.imports import import_source
from runner.drop_ins.source import read_source

HEAD = """
from agents import Agent, Runner
from baton import RunContext
a = Agent(name="a")
b = Agent(name="b", handoffs=[a])
"""


def offered(folder: Path, code: str, head: str = HEAD) -> Any:
    file = folder / "One" / "agent.py"
    file.parent.mkdir()
    file.write_text(head + code)
    return export_of(import_source(read_source("One", file)))


AGENTS = {
    "": "b",  # the only one that no other hands off to
    "agent = a": "a",
    "root_agent = a": "a",
    "triage_agent = a": "a",
    "orchestrator = a": "a",
    "orchestrator = b\nroot_agent = a": "a",
    "agent = 3": "b",
    "c = Agent(name='c', tools=[b.as_tool('x', 'y')])": "c",
    "async def main():\n    print(await Runner.run(a, 'hi'))": "b",
    "agent = a\nasync def run(text): ...": "a",
    "def run(*, text='x'): ...": "b",
    "from json import dumps as run": "b",
}


@pytest.mark.parametrize("code", AGENTS)
def test_an_agent_is_found(tmp_path: Path, code: str) -> None:
    found = offered(tmp_path, code)
    assert isinstance(found, Agent)
    assert found.name == AGENTS[code]


@pytest.mark.parametrize(
    "name", ["agent", "create_agent", "make_agent", "build_agent", "get_agent"]
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_factory_is_found(tmp_path: Path, name: str, kind: str) -> None:
    assert offered(tmp_path, f"{kind} {name}(): return a") == offered_factory(takes_context=False)


def offered_factory(*, takes_context: bool) -> Any:
    class Alike:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Factory) and other.takes_context is takes_context

        __hash__ = None  # type: ignore[assignment]

    return Alike()


@pytest.mark.parametrize(
    "parameters", ["context", "ctx=None", "c: RunContext", "c: 'RunContext', more=1"]
)
def test_a_factory_may_take_the_context(tmp_path: Path, parameters: str) -> None:
    found = offered(tmp_path, f"def agent({parameters}): return a")
    assert found == offered_factory(takes_context=True)


HELPERS = {
    "async def run(text): ...": (False, False),
    "def main(text: str): ...": (False, False),
    "async def chat(items: list): ...": (True, False),
    "async def handle(items: list[dict]): ...": (True, False),
    "async def run_agent(text, context): ...": (False, True),
    "async def run(text, c: RunContext = None): ...": (False, True),
    "async def run(text, turns=3): ...": (False, False),
    "async def run(text):\n    yield ''": (False, False),
}


@pytest.mark.parametrize("code", HELPERS)
def test_a_helper_is_found(tmp_path: Path, code: str) -> None:
    found = offered(tmp_path, code)
    assert isinstance(found, Helper)
    assert (found.takes_items, found.takes_context) == HELPERS[code]
    assert [one.name for one in known_to(found)] == ["b", "a"]


RUNNERS = {
    "class R:\n    async def run(self, text): ...\nrunner = R()",
    "class R:\n    async def run_streamed(self, text): ...\ndef create_runner(): return R()",
    "def runner(): ...",
}


@pytest.mark.parametrize("code", sorted(RUNNERS))
def test_a_runner_is_found(tmp_path: Path, code: str) -> None:
    assert isinstance(offered(tmp_path, code), RunnerFactory)


NOTHING = {
    "x = 1": "has no `agent`",
    "from agents import Agent\na, b, c, d, e = (Agent(name=n) for n in 'abcde')": "5 agents (`a`",
    "def agent(url): ...": "nobody can tell it `url`",
    "def agent(context, url): ...": "nobody can tell it `url`",
    "def run(text, url): ...": "nobody can tell it `url`",
    "def run(text, *, url): ...": "nobody can tell it `url`",
    "def create_runner(x): ...": "may take no parameters",
}


@pytest.mark.parametrize("code", NOTHING)
def test_a_file_that_offers_nothing_is_told_what_to_name(tmp_path: Path, code: str) -> None:
    with pytest.raises(NoExportError) as caught:
        offered(tmp_path, code, head="")
    assert NOTHING[code] in str(caught.value)


def test_agents_that_hand_off_to_each_other_need_a_name(tmp_path: Path) -> None:
    circle = "a.handoffs.append(b)\n"
    with pytest.raises(NoExportError, match=r"2 agents \(`a`, `b`\): call the first one `agent`"):
        offered(tmp_path, circle)


@pytest.mark.parametrize("shared", ["['x']", "None", "a", "Agent"])
def test_only_mcp_servers_may_be_shared(tmp_path: Path, shared: str) -> None:
    file = tmp_path / "One" / "agent.py"
    file.parent.mkdir()
    file.write_text(f"{HEAD}agent = a\nshared_mcp = {shared}\n")
    with pytest.raises(NoExportError, match="`shared_mcp` has to be a list of MCP servers"):
        shared_servers(import_source(read_source("One", file)))
