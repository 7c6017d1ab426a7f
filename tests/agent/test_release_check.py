"""What a release asks for: each item can be open, and then nothing is ready."""

import json
import re
import sys
from datetime import date
from pathlib import Path

import pytest

import dev
from agent import release_check as command
from agent.release_items import (
    BOM,
    LOCK,
    NOTES,
    Item,
    by_command,
    checklist,
    commands,
    interfaces,
    materials,
    notes,
)
from agent.sbom import packages, sbom, unlicensed
from stack.program import ROOT

TEXT = f"""pydantic==2.1 \\
    --hash=sha256:{"a" * 64} \\
    --hash=sha256:{"b" * 64}
    # via baton
No-Such_Package[more]==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:{"c" * 64}
"""


def test_every_package_of_the_lock_is_in_the_bill() -> None:
    assert packages(TEXT) == [
        ("pydantic", "2.1", ["a" * 64, "b" * 64]),
        ("no-such_package", "1.0", ["c" * 64]),
    ]
    lock = (ROOT / LOCK).read_text()
    bom = sbom(lock, name="baton", version="1")
    assert len(bom["components"]) == len(re.findall(r"^[a-z0-9].*==", lock, re.MULTILINE))
    assert all(one["properties"] for one in bom["components"])
    assert unlicensed(bom) == []


def test_a_package_without_a_licence_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LOCK).write_text(TEXT)
    assert materials(tmp_path, "1").done
    assert json.loads((tmp_path / BOM).read_text())["specVersion"] == "1.6"
    monkeypatch.setattr("agent.sbom._licences", lambda _: [])
    item = materials(tmp_path, "1")
    assert (item.done, item.why) == (False, "no licence is known of pydantic, no-such_package")


@pytest.mark.parametrize("text", [None, "", "# Notes\n\n## 1.0\n", "# Notes\n\n2.0\n"])
def test_notes_that_say_nothing_of_the_version_are_open(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / NOTES).parent.mkdir()
        (tmp_path / NOTES).write_text(text)
    assert not notes(tmp_path, "2.0").done


def test_without_a_tag_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    assert "no tag" in interfaces(tmp_path, "1").why


@pytest.mark.parametrize(
    ("script", "done", "why"),
    [
        ("print('a'); print('fine')", True, "fine"),
        ("print('no'); raise SystemExit(3)", False, "exit status 3: no"),
        ("", True, "it said nothing"),
    ],
)
def test_a_command_decides_by_its_exit_status(script: str, done: bool, why: str) -> None:
    assert by_command("x", [sys.executable, "-c", script], ROOT) == Item("x", done, why)


def test_a_command_that_is_not_there_is_open() -> None:
    assert not by_command("x", ["no-such-program"], ROOT).done


def test_the_commands_are_commands() -> None:
    for _, program, *words in commands().values():
        if program == "dev.py":
            assert words[0] in dev.COMMANDS
        else:
            assert [program, words[0]] == ["-m", "agent"]
            assert f"### `{words[1]}`" in (ROOT / "docs" / "cli.md").read_text()


@pytest.mark.parametrize("done", [True, False])
def test_an_open_item_means_not_ready(
    done: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "LOOKS", {"one": lambda *_: Item("one", done, "so")})
    monkeypatch.setattr(command, "commands", dict)
    report = tmp_path / "list.md"
    assert command.release_check(report=report) == (0 if done else 1)
    text = report.read_text()
    assert ("**Ready.**" in text) == done
    assert f"- [{'x' if done else ' '}] one: so" in text


def test_what_is_left_out_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LOOKS", {"one": lambda *_: Item("one", True, "so")})
    monkeypatch.setattr(command, "commands", dict)
    assert command.release_check(skip=["one"], report=tmp_path / "list.md") == 1


def test_the_list_tells_what_is_open() -> None:
    items = [Item("a", True, "x"), Item("b", False, "y")]
    text = checklist(items, version="1", on=date(2030, 1, 2))
    assert "**Not ready**: b." in text
