"""`agent.yaml` beside an agent's file: what people are told of it, and how a mistake is told."""

from pathlib import Path

import pytest

from runner.drop_ins.inspection import Order, Report, look_at

TOOLS = {"save_note": {"name": "save_note", "description": "", "parameters": {}}}
CODE = "from agents import Agent\nagent = Agent(name='x', handoff_description='Y.')\n"


def looked_at(folder: Path, overrides: str, code: str = CODE) -> Report:
    file = folder / "One" / "agent.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(code)
    (file.parent / "agent.yaml").write_text(overrides)
    return look_at(Order(name="One", file=file, tools=TOOLS))


def test_what_the_file_says_is_told_instead_of_what_the_code_says(tmp_path: Path) -> None:
    about = looked_at(tmp_path, "title: The One\nstarters:\n  - Hello\n  - Help me\n").about or {}
    told = about["title"], about["description"], about["starters"], about["name"]
    assert told == ("The One", "Y.", ["Hello", "Help me"], "One")


def test_a_change_of_it_is_another_version(tmp_path: Path) -> None:
    digests = {looked_at(tmp_path, f"title: {title}\n").digest for title in "aab"}
    assert len(digests) == 2


WRONG = {
    "titel: x\n": "agent.yaml, line 1: titel: there is no such field; did you mean title?",
    "title: x\n\nstarters: hello\n": "agent.yaml, line 3: starters: ",
    "title: a\ntitle: b\n": "agent.yaml, line 1: title is given twice",
    "title: [\n": "agent.yaml, line 2: ",
    "starters: [a, 3]\n": "agent.yaml, line 1: starters.1: ",
    "": "agent.yaml is empty",
    "- a\n": "agent.yaml, line 1: ",
    "aliases: one\n": "agent.yaml, line 1: aliases: ",
    "aliases: ['']\n": "agent.yaml, line 1: aliases.0: ",
    "aliases: [' a']\n": "no space around",
    "acess: {}\n": "no such field; did you mean access?",
    "access:\n  user: [a]\n": "line 2: access.user: there is no such field; did you mean users?",
    "access:\n  roles: [boss]\n": "agent.yaml, line 2: access.roles.0: ",
    "access:\n  keys: [bt_0123456789]\n": "never the key itself",
    "tools: save_note\n": "agent.yaml, line 1: tools: ",
    "tools: [save_not]\n": "agent.yaml: tools: toolsvc has no tool 'save_not'; did you mean",
    "client_instructions: never\n": "agent.yaml, line 1: client_instructions: ",
    "limits:\n  runs: 1\n": "agent.yaml, line 2: limits.runs: there is no such field",
    "limits:\n  runs_at_once: 0\n": "agent.yaml, line 2: limits.runs_at_once: ",
    "limits:\n  requests_per_minute: '3'\n": "agent.yaml, line 2: limits.requests_per_minute: ",
}


@pytest.mark.parametrize("written", WRONG)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, written: str) -> None:
    report = looked_at(tmp_path, written)
    assert str(tmp_path) in (report.reason or "")
    assert WRONG[written] in (report.reason or "")


def test_rules_are_announced_as_the_file_has_them(tmp_path: Path) -> None:
    rules = (
        "aliases: [one]\naccess: {users: [a@b.c]}\ntools: [save_note]\nlimits: {runs_at_once: 2}\n"
    )
    about = looked_at(tmp_path, rules).about or {}
    assert about["aliases"] == ["one"]
    assert about["access"] == {"users": ["a@b.c"]}
    assert about["tools"] == ["save_note"]
    assert about["limits"] == {"runs_at_once": 2}
    assert not {"aliases", "access", "tools", "limits"} & set(
        looked_at(tmp_path, "title: x\n").about or {}
    )


BORROWS = """\
from agents import Agent
from baton import gateway_tool
agent = Agent(name='x', tools=[gateway_tool('save_note')])
"""


def test_a_tool_that_the_file_does_not_name_may_not_be_borrowed(tmp_path: Path) -> None:
    assert looked_at(tmp_path, "tools: [save_note]\n", BORROWS).reason is None
    reason = looked_at(tmp_path, "tools: []\n", BORROWS).reason or ""
    assert "x uses 'save_note', which tools of" in reason


def test_what_it_says_of_clients_is_a_capability(tmp_path: Path) -> None:
    said = "client_tools: true\nclient_instructions: false\n"
    about = looked_at(tmp_path, said).about or {}
    assert about["capabilities"]["tools"]["clientProvided"] is True
    assert about["capabilities"]["custom"] == {"clientInstructions": False}
    assert "custom" not in (looked_at(tmp_path, "title: x\n").about or {})["capabilities"]
    assert not {"client_tools", "client_instructions"} & set(about)
