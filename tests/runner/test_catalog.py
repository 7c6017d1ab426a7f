"""Agents are found by folder; one that does not load is named, and the others serve."""

from pathlib import Path
from typing import Any

import pytest

from baton.tools import GatewayTool
from runner.catalog import digest_of_folder, load_catalog

GOOD = "from agents import Agent\nagent = Agent(name='{name}', handoff_description='Helps.')\n"
TOOLS: list[dict[str, Any]] = [
    {"name": "save_note", "description": "Save.", "parameters": {"type": "object"}}
]


def agent(folder: Path, name: str, text: str = GOOD) -> Path:
    file = folder / name / "agent.py"
    file.parent.mkdir(parents=True)
    file.write_text(text.replace("{name}", name))
    return file


def test_each_folder_with_an_agent_is_one_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("One", "Two", "_three", ".four"):
        agent(tmp_path, name)
    agent(tmp_path, "deep/Inner")
    (tmp_path / "Empty").mkdir()
    (tmp_path / "agent.py").write_text(GOOD)
    catalog = load_catalog(tmp_path, [])
    assert sorted(catalog.agents) == ["One", "Two"]
    assert catalog.broken == {}
    about = catalog.agents["Two"].described()
    assert (about["name"], about["title"], about["description"]) == ("Two", "Two", "Helps.")


def test_a_folder_that_is_not_there_has_no_agents(tmp_path: Path) -> None:
    assert load_catalog(tmp_path / "nothing", []).agents == {}


BROKEN = {
    "raises": ("x = 1\n\nraise RuntimeError('no')\n", 3, "RuntimeError: no"),
    "syntax": ("x = 1\ny = = 2\n", 2, "SyntaxError"),
    "import": ("import nothing_of_this_name\n", 1, "ModuleNotFoundError"),
    "deep": ("def f():\n    return 1 / 0\nf()\n", 2, "ZeroDivisionError"),
    "no agent": ("x = 1\n", 1, "no `agent`"),
    "an agent that is none": ("agent = 'me'\n", 1, "no `agent`"),
    "a tool that is none": (
        f"from baton import gateway_tool\n{GOOD[:-2]}, tools=[gateway_tool('fly')])\n",
        1,
        "toolsvc has no tool 'fly'; it has save_note",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_with_its_line_and_the_others_serve(
    tmp_path: Path, case: str
) -> None:
    text, line, why = BROKEN[case]
    file = agent(tmp_path, "Broken", text)
    agent(tmp_path, "Good")
    catalog = load_catalog(tmp_path, TOOLS)
    assert list(catalog.agents) == ["Good"]
    reason = catalog.broken["Broken"]
    assert reason.startswith(f"{file}:{line}: ")
    assert why in reason


def test_an_error_in_a_file_beside_the_agent_is_named_there(tmp_path: Path) -> None:
    text = (
        "import importlib.util, pathlib\n"
        "p = pathlib.Path(__file__).parent / 'beside.py'\n"
        "s = importlib.util.spec_from_file_location('beside_of_test', p)\n"
        "s.loader.exec_module(importlib.util.module_from_spec(s))\n"
    )
    file = agent(tmp_path, "Broken", text)
    (file.parent / "beside.py").write_text("\n\n1 / 0\n")
    reason = load_catalog(tmp_path, []).broken["Broken"]
    assert reason.startswith(f"{file.parent / 'beside.py'}:3: ZeroDivisionError")


def test_placeholders_get_description_and_schema_from_toolsvc(tmp_path: Path) -> None:
    text = (
        "from agents import Agent\nfrom baton import gateway_tool\n"
        "inner = Agent(name='Inner', tools=[gateway_tool('save_note')])\n"
        "agent = Agent(name='x', handoffs=[inner])\n"
    )
    agent(tmp_path, "One", text)
    (inner,) = load_catalog(tmp_path, TOOLS).agents["One"].agent.handoffs
    (tool,) = inner.tools  # type: ignore[union-attr]
    assert isinstance(tool, GatewayTool)
    assert (tool.description, tool.params_json_schema) == ("Save.", {"type": "object"})


def test_the_digest_is_of_all_the_agents_files_and_no_others(tmp_path: Path) -> None:
    folder = agent(tmp_path, "One").parent
    first = digest_of_folder(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert digest_of_folder(folder) == first
    (folder / "prompt.md").write_text("Hello")
    second = digest_of_folder(folder)
    (folder / "prompt.md").rename(folder / "other.md")
    assert len({first, second, digest_of_folder(folder)}) == 3
