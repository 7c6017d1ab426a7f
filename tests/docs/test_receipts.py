"""docs/receipts.md: its fields are those of the code, and its own program verifies."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import block, code, page, rows, section
from tests.shared.exported import KEY, OTHER, export

PAGE = page("docs/receipts.md")
LINES = export([[1, 4, 1], [1, 2]], erased={1})


def test_every_field_of_a_receipt_is_explained() -> None:
    shown = [name for cells in rows(section(PAGE, "## What a receipt says")) for name in cells[:1]]
    assert {name for cell in shown for name in code(cell)} == set(json.loads(LINES[-1]))


def test_every_field_of_a_line_is_explained() -> None:
    header, row, _ = (set(code(cells[1])) for cells in rows(section(PAGE, "## The file")))
    assert header == {*json.loads(LINES[0]), "baton.export"}
    assert row == set(json.loads(LINES[1]))


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (LINES, None),
        ([*LINES[:3], LINES[3].replace(b"CUSTOM", b"custom"), *LINES[4:]], "3-6"),
        ([*LINES[:4], *LINES[5:]], "4-2"),
        ([*LINES[:-1], LINES[-1].replace(b"finished", b"canceled")], "InvalidSignature"),
    ],
)
def test_the_pages_program_verifies(
    tmp_path: Path, lines: list[bytes], complaint: str | None
) -> None:
    (tmp_path / "run.ndjson").write_bytes(b"".join(line + b"\n" for line in lines))
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [OTHER.public.jwk, KEY.public.jwk]}))
    done = subprocess.run(
        [sys.executable, "-c", block(PAGE, "run: verify"), "run.ndjson", "keys.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if complaint is None:
        assert (done.returncode, done.stdout) == (0, "run_1 holds\n"), done.stderr
    else:
        assert done.returncode == 1
        assert complaint in done.stderr
