"""Agents are found by folder; one that does not load is named, and the others serve."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from baton.tools import GatewayTool
from runner.catalog import Catalog, load_catalog
from runner.drop_ins.exports import Factory
from runner.drop_ins.source import read_source
from runner.kept import KEPT_ANYWAY_S, KeptCode

GOOD = "from agents import Agent\nagent = Agent(name='{name}', handoff_description='Helps.')\n"
TOOLS: list[dict[str, Any]] = [
    {"name": "save_note", "description": "Save.", "parameters": {"type": "object"}}
]


def loaded(folder: Path, tools: list[dict[str, Any]]) -> Catalog:
    return load_catalog([folder], tools, KeptCode(folder / ".kept"))


def agent(folder: Path, name: str, text: str = GOOD) -> Path:
    file = folder / name / "agent.py"
    file.parent.mkdir(parents=True)
    file.write_text(text.replace("{name}", name))
    return file


def test_each_folder_with_an_agent_is_one_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("One", "Two", "_three", ".four", "_team/Five"):
        agent(tmp_path, name)
    agent(tmp_path, "team/Inner")
    (tmp_path / "Empty").mkdir()
    catalog = loaded(tmp_path, [])
    assert sorted(catalog.agents) == ["One", "Two", "team/Inner"]
    assert catalog.broken == {}
    about = catalog.agents["Two"].described()
    assert (about["name"], about["title"], about["description"]) == ("Two", "Two", "Helps.")


def test_a_folder_that_is_not_there_has_no_agents(tmp_path: Path) -> None:
    assert loaded(tmp_path / "nothing", []).agents == {}


BROKEN = {
    "raises": ("x = 1\n\nraise RuntimeError('no')\n", 3, "RuntimeError: no"),
    "syntax": ("x = 1\ny = = 2\n", 2, "SyntaxError"),
    "import": ("import nothing_of_this_name\n", 1, "ModuleNotFoundError"),
    "deep": ("def f():\n    return 1 / 0\nf()\n", 2, "ZeroDivisionError"),
    "exits": ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
    "no agent": ("x = 1\n", None, "no `agent`"),
    "an agent that is none": ("agent = 'me'\n", None, "no `agent`"),
    "a tool that is none": (
        f"from baton import gateway_tool\n{GOOD[:-2]}, tools=[gateway_tool('fly')])\n",
        None,
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
    catalog = loaded(tmp_path, TOOLS)
    assert list(catalog.agents) == ["Good"]
    reason = catalog.broken["Broken"]
    assert reason.startswith(f"{file}:{line}: " if line else f"{file}: ")
    assert why in reason


def test_the_line_is_found_where_the_folder_is_named_relative_to_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent(tmp_path / "agents", "Broken", "x = 1\n\nagent = undefined\n")
    monkeypatch.chdir(tmp_path)
    reason = loaded(Path("agents"), []).broken["Broken"]
    assert "agents/Broken/agent.py:3: NameError" in reason


def test_an_error_in_a_file_beside_the_agent_is_named_there(tmp_path: Path) -> None:
    text = (
        "import importlib.util, pathlib\n"
        "p = pathlib.Path(__file__).parent / 'beside.py'\n"
        "s = importlib.util.spec_from_file_location('beside_of_test', p)\n"
        "s.loader.exec_module(importlib.util.module_from_spec(s))\n"
    )
    file = agent(tmp_path, "Broken", text)
    (file.parent / "beside.py").write_text("\n\n1 / 0\n")
    reason = loaded(tmp_path, []).broken["Broken"]
    assert reason.startswith(f"{file.parent / 'beside.py'}:3: ZeroDivisionError")


def test_placeholders_get_description_and_schema_from_toolsvc(tmp_path: Path) -> None:
    text = (
        "from agents import Agent\nfrom baton import gateway_tool\n"
        "inner = Agent(name='Inner', tools=[gateway_tool('save_note')])\n"
        "agent = Agent(name='x', handoffs=[inner])\n"
    )
    agent(tmp_path, "One", text)
    (inner,) = loaded(tmp_path, TOOLS).agents["One"].agent.handoffs
    (tool,) = inner.tools  # type: ignore[union-attr]
    assert isinstance(tool, GatewayTool)
    assert (tool.description, tool.params_json_schema) == ("Save.", {"type": "object"})


def test_the_digest_is_of_all_the_agents_files_and_no_others(tmp_path: Path) -> None:
    file = agent(tmp_path, "One")
    folder = file.parent

    def digest() -> str:
        return read_source("One", file).digest

    first = digest()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert digest() == first
    (folder / "prompt.md").write_text("Hello")
    second = digest()
    (folder / "prompt.md").rename(folder / "other.md")
    assert len({first, second, digest()}) == 3


def test_former_code_serves_the_runs_that_began_with_it(tmp_path: Path) -> None:
    file = agent(tmp_path, "One", "from agents import Agent\nagent = Agent(name='first')\n")
    before = loaded(tmp_path, []).agents["One"]
    file.write_text("from agents import Agent\nagent = Agent(name='second')\n")
    catalog = loaded(tmp_path, [])
    now = catalog.agents["One"]
    assert now.digest != before.digest
    assert catalog.of("One", None) is now
    assert catalog.of("One", now.digest) is now
    former = catalog.of("One", before.digest)
    assert former is not None
    assert (former.agent.name, former.digest) == ("first", before.digest)
    assert catalog.of("One", before.digest) is former
    assert catalog.of("One", "0" * 64) is now
    assert catalog.of("Nobody", before.digest) is None


def test_former_code_that_was_changed_where_it_is_kept_is_not_run(tmp_path: Path) -> None:
    file = agent(tmp_path, "One")
    before = loaded(tmp_path, []).agents["One"]
    file.write_text(GOOD.replace("Helps", "Helps more"))
    catalog = loaded(tmp_path, [])
    kept = catalog.kept.find("One", before.digest)
    assert kept is not None
    kept.write_text("raise SystemExit")
    assert catalog.of("One", before.digest) is catalog.agents["One"]
    kept.write_text(GOOD.replace("Helps", "Harms"))
    assert catalog.of("One", before.digest) is catalog.agents["One"]


@pytest.mark.parametrize("digest", ["..", "../../etc", "", "/", "x" * 64 + "/..", "no-digest"])
def test_former_code_is_looked_for_by_digest_alone(tmp_path: Path, digest: str) -> None:
    assert KeptCode(tmp_path).find("One", digest) is None


def test_old_code_that_no_run_needs_is_dropped(tmp_path: Path) -> None:
    source = read_source("One", agent(tmp_path, "One"))
    kept = KeptCode(tmp_path / "kept")
    for digest in ("a" * 64, "b" * 64, "c" * 64):
        kept.keep(replace(source, digest=digest))
    long_ago = time.time() - KEPT_ANYWAY_S - 1
    for digest in ("a" * 64, "b" * 64):
        os.utime(kept.folder / digest, (long_ago, long_ago))
    kept.forget({"a" * 64})
    assert sorted(one.name[0] for one in kept.folder.iterdir()) == ["a", "c"]
    KeptCode(tmp_path / "missing").forget(set())


def test_code_that_cannot_be_kept_does_not_keep_the_agent_from_serving(tmp_path: Path) -> None:
    agent(tmp_path, "One")
    (tmp_path / "file").write_text("")
    catalog = load_catalog([tmp_path], [], KeptCode(tmp_path / "file"))
    assert list(catalog.agents) == ["One"]


def test_agents_that_are_made_for_each_run_know_toolsvcs_tools(tmp_path: Path) -> None:
    text = (
        "from agents import Agent\nfrom baton import gateway_tool\n"
        "def agent():\n    return Agent(name='x', tools=[gateway_tool('save_note')])\n"
    )
    agent(tmp_path, "One", text)
    made = loaded(tmp_path, TOOLS).agents["One"].export
    assert isinstance(made, Factory)
    (tool,) = made.make().tools
    assert (tool.description, tool.params_json_schema) == ("Save.", {"type": "object"})


def test_folders_are_added_and_what_clashes_between_them_is_refused(tmp_path: Path) -> None:
    for name in ("a/One", "a/Both", "b/Two", "b/both"):
        agent(tmp_path, name)
    catalog = load_catalog([tmp_path / "a", tmp_path / "b"], [], KeptCode(tmp_path / ".kept"))
    assert sorted(catalog.agents) == ["One", "Two"]
    assert sorted(catalog.broken) == ["Both", "both"]
