"""Rules change while processes run; a file that cannot be used leaves what it said before."""

import os
from pathlib import Path

import pytest

from shared.settings.security import SecurityConfig, load_security
from shared.settings.security_file import SecurityFile
from shared.settings.yaml_file import MOST_BYTES

DENIED = "imports: {deny: [os]}\n"
ALLOWED = "imports: {}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "security.yaml"
    path.write_text(DENIED)
    return path


@pytest.fixture
def file(path: Path) -> SecurityFile[SecurityConfig]:
    return SecurityFile(path, load_security, load_security(path))


def settled(file: SecurityFile[SecurityConfig]) -> bool:
    """Look until the file is known; whether anything has changed."""
    return [file.look() for _ in range(3)] in ([False, True, False], [True, False, False])


def test_a_change_counts_when_it_is_seen_twice(
    file: SecurityFile[SecurityConfig], path: Path
) -> None:
    assert not settled(file)
    path.write_text("")  # half of what is written
    assert not file.look()
    path.write_text("imports: {deny: [re]}\n")
    assert not file.look()
    assert file.rules.imports.deny == ("os",)
    assert file.look()
    assert (file.rules.imports.deny, file.problem) == (("re",), None)
    assert not settled(file)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b"", "is empty"),
        (b"import: {}\n", "line 1: import: there is no such field; did you mean imports?"),
        (b"imports: {deny: re}\n", "line 1: imports.deny"),
        (b"namespaces:\n  a/: {}\n", "a namespace is the beginning"),
        (b"imports: [\n", "line "),
        (b"\xff\xfe", "cannot be read"),
        (b"#" * (MOST_BYTES + 1), "has more than 1,048,576 bytes"),
        (None, "is gone; write {} into it"),
    ],
)
def test_a_mistake_leaves_what_was_said_before_until_it_is_mended(
    file: SecurityFile[SecurityConfig], path: Path, written: bytes | None, told: str
) -> None:
    before = file.rules
    path.write_bytes(written) if written is not None else path.unlink()
    assert settled(file)
    assert file.rules is before
    assert file.problem is not None
    assert str(path) in file.problem
    assert told in file.problem
    assert file.problem.endswith("What it said before still counts.")
    path.write_text("{}\n")
    assert settled(file)
    assert file.rules == SecurityConfig()
    assert not file.problem


@pytest.mark.parametrize("what", ["pipe", "endless", "folder"])
def test_what_is_no_file_is_neither_waited_for_nor_read(
    file: SecurityFile[SecurityConfig], path: Path, what: str
) -> None:
    path.unlink()
    match what:
        case "pipe":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case _:
            path.mkdir()
    assert settled(file)
    assert file.problem is not None
    assert f"{path} cannot be read" in file.problem
    path.rmdir() if what == "folder" else path.unlink()
    path.write_text(ALLOWED)
    assert settled(file)
    assert file.rules == SecurityConfig()
    assert not file.problem


def test_one_that_comes_later_counts_too(tmp_path: Path) -> None:
    path = tmp_path / "security.yaml"
    file = SecurityFile(path, load_security, SecurityConfig())
    assert not settled(file)
    path.write_text(DENIED)
    assert settled(file)
    assert file.rules.imports.deny == ("os",)
    path.write_text(ALLOWED)
    assert settled(file)
    assert file.rules == SecurityConfig()
