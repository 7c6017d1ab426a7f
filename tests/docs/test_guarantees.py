"""Each promise names a test, and that test exists."""

import re

from stack.program import ROOT

PAGE = (ROOT / "docs/guarantees.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "| fault |" not in line]
PROMISES = [line for line in ROWS if not line.startswith("| promise |")]


def test_every_promise_names_a_test_that_exists() -> None:
    assert len(PROMISES) > 25
    for line in PROMISES:
        shown = line.rstrip(" |").rpartition("|")[2]
        named = re.findall(r"`([^`]+)`", shown)
        files = [name for name in named if name.endswith(".py")]
        tests = [name for name in named if name.startswith("test_")]
        assert len(files) == 1, line
        assert tests, line
        source = (ROOT / files[0]).read_text()
        for test in tests:
            assert re.search(rf"def {test}\(", source), f"{files[0]} has no {test}"
