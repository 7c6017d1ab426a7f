"""Items that need no program: each can be open, and says why."""

import json
import re
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.releasing.git import Checkout, may_break
from agent.releasing.looks import (
    BOM,
    FIRST,
    LICENCES,
    LOCK,
    NOTES,
    OPENAPI,
    compared,
    last_tag,
    licences,
    materials,
    notes,
)
from agent.releasing.openapi import openapi_changes
from agent.releasing.sbom import packages, sbom, unlicensed
from stack.program import ROOT

TEXT = f"""pydantic==2.1 \\
    --hash=sha256:{"a" * 64} \\
    --hash=sha256:{"b" * 64}
    # via baton
No-Such_Package[more]==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:{"c" * 64}
"""
ONE: dict[str, Any] = {"paths": {"/a": {"get": {"responses": {"200": {}}}}}}
TWO = {"paths": {**ONE["paths"], "/b": {"get": {"responses": {"200": {}}}}}}


def git(root: Path, *arguments: str) -> None:
    person = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *person, *arguments], cwd=root, check=True, capture_output=True)


def released(root: Path, document: Any, tag: str | None = "v0.1.0") -> Path:
    """A repository whose last commit has this description of REST, under a tag."""
    git(root, "init", "-q")
    (root / OPENAPI).parent.mkdir(parents=True)
    (root / OPENAPI).write_text(json.dumps(document))
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    if tag:
        git(root, "tag", tag)
    return root


def look(root: Path, document: Any, version: str = "0.1.1") -> Any:
    return compared(root, version, OPENAPI, lambda: document, openapi_changes)


# ---------------------------------------------------------------------------------- interfaces
def test_before_the_first_release_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    released(tmp_path, ONE, tag=None)
    for found in (last_tag(tmp_path), look(tmp_path, TWO)):
        assert (found.done, found.why) == (True, FIRST)
    assert json.loads((tmp_path / OPENAPI).read_text()) == TWO


def test_where_nobody_can_know_the_last_tag_it_is_open(tmp_path: Path) -> None:
    for found in (last_tag(tmp_path), look(tmp_path, TWO)):
        assert (found.done, found.why) == (
            False,
            "this is no git checkout, so nobody knows the last tag",
        )
    (tmp_path / "far").mkdir()
    origin = released(tmp_path / "far", ONE, tag=None)
    (origin / "x").touch()
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "two")
    git(tmp_path, "clone", "-q", "--depth=1", origin.as_uri(), "near")
    found = last_tag(tmp_path / "near")
    assert not found.done
    assert "git fetch --tags --unshallow" in found.why


def test_what_has_been_added_since_the_tag_is_told(tmp_path: Path) -> None:
    root = released(tmp_path, ONE)
    assert last_tag(root).why == "compared with v0.1.0"
    found = look(root, TWO)
    assert (found.done, found.why) == (True, "1 change since v0.1.0, none of them breaking")
    assert found.more == ("GET /b: is new",)
    assert look(root, ONE).why == "0 changes since v0.1.0, none of them breaking"


@pytest.mark.parametrize(("version", "done"), [("0.1.1", False), ("0.2.0", True), ("1.0.0", True)])
def test_what_breaks_others_needs_a_version_that_says_so(
    tmp_path: Path, version: str, done: bool
) -> None:
    found = look(released(tmp_path, TWO), ONE, version)
    assert found.done == done
    assert found.more == ("breaking: GET /b: is gone",)
    assert ("does not say so" in found.why) != done


def test_a_tag_without_the_document_is_open(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "x").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    git(tmp_path, "tag", "v0.1.0")
    found = look(tmp_path, ONE)
    assert not found.done
    assert f"v0.1.0 has no {OPENAPI}" in found.why


@pytest.mark.parametrize(
    ("tag", "version", "says"),
    [
        ("v0.1.0", "0.1.9", False),
        ("v0.1.0", "0.2.0", True),
        ("v1.2.0", "1.3.0", False),
        ("1.2", "2.0.0", True),
        ("v0.9", "1.0", True),
        ("v0.2.0", "0.1.0", False),
        ("nightly", "0.1.0", True),
    ],
)
def test_versions_say_whether_something_may_break(tag: str, version: str, says: bool) -> None:
    assert may_break(tag, version) == says


def test_the_commit_is_named_with_what_is_not_in_it(tmp_path: Path) -> None:
    assert Checkout(tmp_path).commit() == "no commit"
    root = released(tmp_path, ONE)
    assert re.fullmatch("[0-9a-f]{12}", Checkout(root).commit())
    (root / "y").touch()
    assert Checkout(root).commit().endswith(", with changes that are not committed")


# ---------------------------------------------------------------------------------- materials
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
    assert materials(tmp_path, "1").why == "2 packages"
    assert json.loads((tmp_path / BOM).read_text())["specVersion"] == "1.6"
    assert licences(tmp_path, "1").done
    assert "| MIT | pydantic 2.1 |\n" in (tmp_path / LICENCES).read_text()
    assert "| (not for this machine) | no-such_package 1.0 |" in (tmp_path / LICENCES).read_text()
    monkeypatch.setattr("agent.releasing.sbom._licences", lambda _: [])
    found = licences(tmp_path, "1")
    assert (found.done, found.why) == (False, "no licence is known of pydantic, no-such_package")


@pytest.mark.parametrize(
    "text", [None, "", "# Notes\n\n## 1.0\n", "# Notes\n\n2.0\n", "\n## 2.0.1\n"]
)
def test_notes_that_say_nothing_of_the_version_are_open(tmp_path: Path, text: str | None) -> None:
    look = partial(notes, tmp_path, "2.0")
    if text is not None:
        (tmp_path / NOTES).parent.mkdir()
        (tmp_path / NOTES).write_text(text)
    assert not look().done
    (tmp_path / NOTES).parent.mkdir(exist_ok=True)
    (tmp_path / NOTES).write_text("# Notes\n\n## 2.0\n")
    assert look().done
