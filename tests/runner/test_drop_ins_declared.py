"""An agent.yaml alone: it behaves as the same agent in Python, and mistakes are told by line."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agents.testing import function_call
from prometheus_client import REGISTRY

from baton.testing import AgentUnderTest, Ended, baton_agent
from runner.catalog import load_catalog
from runner.drop_ins.inspection import Order, Report, look_at
from runner.kept import KeptCode

__all__ = ["baton_agent"]  # the fixture

Load = Callable[..., AgentUnderTest]

YAML = """\
name: Desk
instructions: Send people to who knows best.
model: gpt-5
handoffs: [Books]
agents:
  Books:
    instructions: You know the books.
    handoff_description: Knows the books.
    tools: [find_book]
    handoffs: [Desk]
    output:
      type: object
      properties: {title: {type: string}}
      required: [title]
      additionalProperties: false
"""
PYTHON = """\
from typing_extensions import TypedDict
from agents import Agent
from baton import gateway_tool

class Found(TypedDict):
    title: str

books = Agent(
    name="Books", instructions="You know the books.", handoff_description="Knows the books.",
    tools=[gateway_tool("find_book")], output_type=Found,
)
agent = Agent(
    name="Desk", instructions="Send people to who knows best.", model="gpt-5", handoffs=[books]
)
books.handoffs = [agent]
"""


@pytest.fixture
def both(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / "a" / "Desk", tmp_path / "b" / "Desk"]
    for folder, file, text in zip(folders, ("agent.yaml", "agent.py"), (YAML, PYTHON), strict=True):
        folder.mkdir(parents=True)
        (folder / file).write_text(text)
    return folders


def counted() -> dict[tuple[str, str], float]:
    """What our metrics count, and not how long it took."""
    return {
        (one.name, str(one.labels)): one.value
        for metric in REGISTRY.collect()
        for one in metric.samples
        if metric.name.startswith("baton_") and one.name.endswith(("_total", "_count"))
    }


def told(ended: Ended) -> Any:
    """All that clients hear of a run, with ids numbered as they come."""
    ids: dict[str, str] = {}

    def numbered(found: re.Match[str]) -> str:
        return ids.setdefault(found[0], f"id-{len(ids)}")

    error = (ended.error.code, ended.error.message) if ended.error else None
    events = re.sub(r"\w+_[0-9a-f]{32}", numbered, repr(ended.events))
    return re.sub(r"'timestamp': \d+", "", events), ended.final_output, ended.last_agent, error


FOUND = function_call("find_book", {"words": "sea"}, call_id="call_1")
TO_BOOKS = function_call("transfer_to_books", {}, call_id="call_0")
STORIES: dict[str, list[Any]] = {
    "an answer": ["Good day."],
    "a hand-off, a tool, and an object": [TO_BOOKS, FOUND, '{"title": "Moby Dick"}'],
    "an answer of another form": [TO_BOOKS, '{"name": 3}'],
    "an answer that is no JSON": [TO_BOOKS, "Moby Dick"],
    "a model that fails": [RuntimeError("away")],
    "a tool that there is not": [function_call("nothing", {}, call_id="call_2"), "Well."],
}


@pytest.mark.parametrize("story", STORIES)
def test_it_does_what_the_same_agent_does_in_python(
    baton_agent: Load, both: list[Path], story: str
) -> None:
    ended, counts = [], []
    for folder in both:
        before = counted()
        agent = baton_agent(folder, tools={"find_book": lambda words: f"{words}: Moby Dick"})
        ended.append(told(agent.run("Hello", STORIES[story])))
        after = counted()
        counts.append({key: after[key] - before.get(key, 0) for key in after})
    written, python = ended
    if story.startswith(("an answer of", "an answer that")):  # in other words
        written, python = (re.sub(r"'message': .*?\}", "", repr(one[0])) for one in ended)
        assert ended[0][3][0] == ended[1][3][0]
    assert written == python
    assert counts[0] == counts[1]


def looked_at(folder: Path, written: str) -> Report:
    file = folder / "team" / "Desk" / "agent.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(written)
    return look_at(Order(name="team/Desk", file=file, tools=TOOLS))


TOOLS = {
    name: {"name": name, "description": "", "parameters": {"type": "object", "properties": {}}}
    for name in ("find_book", "save_note")
}


def test_it_is_described_like_any_other(tmp_path: Path) -> None:
    report = looked_at(tmp_path, YAML + "title: Desk\naliases: [gpt-desk]\ntools: [save_note]\n")
    about = report.about or {}
    assert report.reason is None
    assert (about["name"], about["title"], about["aliases"]) == ("team/Desk", "Desk", ["gpt-desk"])
    assert about["tools"] == ["save_note", "find_book"]  # its runs may call no others
    assert about["capabilities"]["multiAgent"]["subAgents"] == [{"name": "Books"}]
    assert "instructions" not in about


WRONG = {
    "": "agent.yaml is empty",
    "title: x\n": "line 1: instructions: it is missing",
    "instructions: ''\n": "line 1: instructions: ",
    "instructons: x\n": "line 1: instructons: there is no such field; did you mean instructions?",
    "instructions: x\ntools: [find_bok]\n": "has no tool 'find_bok'; did you mean 'find_book'",
    "instructions: x\nmodel: 5\n": "line 2: model: ",
    "instructions: x\nhandoffs: Books\n": "line 2: handoffs: ",
    "instructions: x\nhandoffs: [Books]\n": "line 2: handoffs.0: there is no agent 'Books' in",
    "instructions: x\nhandoffs: [Dask]\n": "there is no agent 'Dask' in this file; did you mean",
    "instructions: x\nagents:\n  Desk: {instructions: y}\n": "line 3: agents.Desk: the first agent",
    "instructions: x\nagents:\n  A: {}\n": "line 3: agents.A.instructions: it is missing",
    "instructions: x\nagents:\n  A: {instructions: y, tool: [z]}\n": "did you mean tools?",
    "instructions: x\nagents:\n  A: {instructions: y, title: z}\n": "agents.A.title: there is no",
    "instructions: x\noutput: text\n": "line 2: output: ",
    "instructions: x\noutput: {type: string}\n": "line 2: output: an answer's schema has",
    "instructions: x\noutput:\n  type: object\n  required: 3\n": "line 2: output: it is no JSON",
    "instructions: x\naccess: {user: [a]}\n": "access.user: there is no such field; did you",
    "instructions: x\ninstructions: y\n": "is given twice",
    "instructions: [\n": "line 2: ",
}


@pytest.mark.parametrize("written", WRONG)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, written: str) -> None:
    reason = looked_at(tmp_path, written).reason or ""
    assert str(tmp_path) in reason
    assert WRONG[written] in reason


def test_it_is_found_kept_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "agents" / "team" / "Desk"
    folder.mkdir(parents=True)
    (folder / "agent.yaml").write_text("instructions: Help.\n")
    (tmp_path / "agents" / "agent.yaml").write_text("instructions: Of nobody.\n")
    catalog = load_catalog([tmp_path / "agents"], [], KeptCode(tmp_path / "kept"))
    served = catalog.agents["team/Desk"]
    assert (list(catalog.agents), catalog.broken) == (["team/Desk"], {})
    assert (served.agent.name, served.agent.instructions) == ("Desk", "Help.")
    file = catalog.kept.find("team/Desk", served.digest)
    assert file is not None
    assert file.read_text() == "instructions: Help.\n"
    (folder / "agent.py").write_text("from agents import Agent\nagent = Agent(name='x')\n")
    later = load_catalog([tmp_path / "agents"], [], KeptCode(tmp_path / "kept"))
    assert "line 1: instructions: there is no such field" in later.broken["team/Desk"]
