"""dev.py itself: what it promises without installing anything."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DECLARED = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]


def locked() -> dict[str, str]:
    pins = re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", LOCK, re.MULTILINE)
    return dict(pins)


@pytest.mark.parametrize("requirement", DECLARED)
def test_the_lock_holds_what_pyproject_declares(requirement: str) -> None:
    parsed = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?([^;]*)", requirement)
    assert parsed
    name, wanted = parsed[1].lower(), parsed[2].strip()
    assert name in locked(), "run `python3 dev.py lock`"
    for clause in filter(None, wanted.split(",")):
        operator, version = re.findall(r"^(>=|==|<)(.*)$", clause)[0]
        have = numbers(locked()[name])
        assert {
            ">=": have >= numbers(version),
            "==": locked()[name] == version,
            "<": have < numbers(version),
        }[operator], "run `python3 dev.py lock`"


def numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def test_every_package_in_the_lock_has_a_hash_and_no_host_is_named() -> None:
    blocks = re.split(r"^(?=\S+==)", LOCK, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCK
    assert "index" not in LOCK.replace("importlib", "")


def test_without_a_command_it_explains_itself() -> None:
    shown = subprocess.run(
        [sys.executable, "dev.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for command in ("up", "test", "check", "bench", "redis", "lock"):
        assert re.search(rf"^  {command} ", shown, re.MULTILINE)


def test_an_unknown_command_is_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "dev.py", "fly"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 2


def test_what_it_hands_over_to_explains_itself() -> None:
    for words, status in ((["--help"], 0), (["fly"], 2), ([], 2)):
        done = subprocess.run(
            [sys.executable, "-m", "stack", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr.split(" {")[0]) == (status, "usage: python -m stack")


def test_dev_py_needs_nothing_but_python() -> None:
    """It runs before anything is installed, and says so to older Pythons instead of failing."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "dev.py", "help"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_ci_runs_all_tests_and_fails_on_skips() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "BATON_FAIL_ON_SKIP=1" in script
    assert "python3 dev.py test" in script
