"""Which files are agents, what they are called, and which are refused in words."""

from pathlib import Path

import pytest

from runner.drop_ins.find import find
from runner.drop_ins.source import LeadsOutError, read_source


def file(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_names_are_paths_below_the_folder_and_stems_of_single_files(tmp_path: Path) -> None:
    for path in (
        "One/agent.py",
        "team/Two/agent.py",
        "team/Two/deep/Three/agent.py",
        "Four.py",
        "My agent 2.0.py",
    ):
        file(tmp_path / path)
    found = find([tmp_path])
    assert sorted(found.agents) == [
        "Four",
        "My agent 2.0",
        "One",
        "team/Two",
        "team/Two/deep/Three",
    ]
    assert found.refused == {}


def test_what_is_hidden_or_is_part_of_an_agent_is_none(tmp_path: Path) -> None:
    for path in (
        "_helpers.py",
        ".hidden.py",
        "__init__.py",
        "_team/One/agent.py",
        ".git/One/agent.py",
        "__pycache__/agent.py",
        "One/agent.py",
        "One/helpers.py",
        "One/lib/more.py",
        "notes.txt",
    ):
        file(tmp_path / path)
    assert list(find([tmp_path]).agents) == ["One"]


def test_an_agent_without_a_name_is_told_how_to_get_one(tmp_path: Path) -> None:
    file(tmp_path / "agent.py")
    found = find([tmp_path])
    assert found.agents == {}
    assert "put it into a folder" in found.refused["agent"]


@pytest.mark.parametrize("other", ["a/One.py", "a/one/agent.py", "b/One/agent.py", "b/ONE.py"])
def test_names_that_clash_are_refused_naming_both_files(tmp_path: Path, other: str) -> None:
    first, second = file(tmp_path / "a/One/agent.py"), file(tmp_path / other)
    (tmp_path / "b").mkdir(exist_ok=True)
    roots = [tmp_path / "a", tmp_path / "b"]
    found = find(roots)
    assert found.agents == {}
    assert all(str(first) in why and str(second) in why for why in found.refused.values())
    assert "One" in found.refused
    served = find(roots, {"One": first})
    assert {name: one.file for name, one in served.agents.items()} == {"One": first}
    assert served.refused == found.refused


@pytest.mark.parametrize("link", ["One", "One/agent.py", "One.py"])
def test_links_that_lead_out_of_the_folder_are_refused(tmp_path: Path, link: str) -> None:
    file(tmp_path / "elsewhere/agent.py")
    (tmp_path / "agents/One").mkdir(parents=True)
    target = tmp_path / ("elsewhere" if link == "One" else "elsewhere/agent.py")
    if link == "One":
        (tmp_path / "agents/One").rmdir()
    (tmp_path / "agents" / link).symlink_to(target)
    found = find([tmp_path / "agents"])
    assert found.agents == {}
    assert "leads out of" in found.refused["One"]


def test_a_file_beside_the_agent_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    secret = file(tmp_path / "secret.py", "KEY = 1")
    agent = file(tmp_path / "agents/One/agent.py")
    (agent.parent / "helpers.py").symlink_to(secret)
    with pytest.raises(LeadsOutError, match=r"helpers\.py"):
        read_source("One", agent, tmp_path / "agents")


@pytest.mark.parametrize("target", ["gone.py", "agent.py"])
def test_a_link_to_nothing_or_itself_is_no_agent_and_says_so(tmp_path: Path, target: str) -> None:
    (tmp_path / "One").mkdir()
    (tmp_path / "One/agent.py").symlink_to(tmp_path / "One" / target)
    found = find([tmp_path])
    assert found.agents == {}
    assert "can be read" in found.refused["One"]


@pytest.mark.parametrize("name", ["One.py", "One/agent.py"])
def test_a_file_that_was_deleted_since_it_was_found_is_named(tmp_path: Path, name: str) -> None:
    file(tmp_path / "One/helpers.py")
    with pytest.raises(FileNotFoundError, match=name):
        read_source("One", tmp_path / name)


def test_the_code_of_an_agent_ends_where_another_begins(tmp_path: Path) -> None:
    outer = file(tmp_path / "team/agent.py", "outer")
    before = read_source("team", outer)
    file(tmp_path / "team/Inner/agent.py", "inner")
    file(tmp_path / "team/Inner/helpers.py")
    for written in ("agent.py~", ".agent.py.swp", "4913", "#agent.py#", ".#agent.py"):
        file(tmp_path / "team" / written)
    assert read_source("team", outer).digest == before.digest
    file(tmp_path / "team/lib/more.py", "x = 1")
    after = read_source("team", outer)
    assert after.digest != before.digest
    assert set(after.python) == {"agent.py", "lib/more.py"}


def test_a_single_file_is_all_of_its_code(tmp_path: Path) -> None:
    single = file(tmp_path / "One.py", "x = 1")
    before = read_source("One", single)
    file(tmp_path / "Two.py")
    assert read_source("One", single) == before
