"""`agent.yaml` beside an agent's file: what people are told of it, and how a mistake is told."""

from pathlib import Path

import pytest

from runner.drop_ins.inspection import Order, Report, look_at


def looked_at(folder: Path, overrides: str) -> Report:
    file = folder / "One" / "agent.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text("from agents import Agent\nagent = Agent(name='x', handoff_description='Y.')\n")
    (file.parent / "agent.yaml").write_text(overrides)
    return look_at(Order(name="One", file=file))


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
}


@pytest.mark.parametrize("written", WRONG)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, written: str) -> None:
    report = looked_at(tmp_path, written)
    assert str(tmp_path) in (report.reason or "")
    assert WRONG[written] in (report.reason or "")
