"""Packages of Node.js count as installed where they are those of the lock, and no others."""

import json
from pathlib import Path

import pytest

from stack.node import find_node, install_packages


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with programs that are called `node` and `npm`; `npm` fails."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("node", "npm"):
        (programs / name).write_text("#!/bin/sh\necho one >&2\necho no such registry >&2\nexit 1\n")
        (programs / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(programs))
    return programs


def locked(folder: Path, *, wanted: str, present: str | None) -> Path:
    def lock(version: str) -> str:
        return json.dumps({"packages": {"": {}, "node_modules/a": {"version": version}}})

    (folder / "package-lock.json").write_text(lock(wanted))
    if present is not None:
        (folder / "node_modules").mkdir()
        (folder / "node_modules" / ".package-lock.json").write_text(lock(present))
    return folder


def test_the_versions_of_the_lock_are_there(node: Path, tmp_path: Path) -> None:
    folder = locked(tmp_path, wanted="1.0.0", present="1.0.0")
    assert find_node(folder) == str(node / "node")
    assert install_packages(folder) is None


@pytest.mark.parametrize("present", [None, "0.9.0"])
def test_none_or_others_are_not(node: Path, tmp_path: Path, present: str | None) -> None:
    folder = locked(tmp_path, wanted="1.0.0", present=present)
    assert find_node(folder) is None
    assert install_packages(folder) == "npm failed: no such registry"


def test_without_node_nothing_is_installed(node: Path, tmp_path: Path) -> None:
    (node / "node").unlink()
    assert install_packages(locked(tmp_path, wanted="1.0.0", present=None)) == "no Node.js found"
