"""Docs lead somewhere, are numbered, and speak of no machine."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
#: README has the reader make it.
TO_BE_MADE = ("src/agents/Pirate/agent.py",)
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(file: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", file.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in _anchors(there), f"{target} has no such heading"


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_page_speaks_of_one_machine(file: Path) -> None:
    assert not re.search(r"(?<![\w.])/(work|home|root|Users)/", file.read_text("utf-8"))


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_that_a_page_names_exist(file: Path) -> None:
    named = re.findall(r"`((?:\w+/)+[\w.]+\.(?:py|lua|md|toml))`", file.read_text("utf-8"))
    missing = [one for one in named if not (ROOT / one).exists() and one not in TO_BE_MADE]
    assert not missing


@pytest.mark.parametrize("file", DECISIONS, ids=lambda file: file.stem)
def test_decisions_say_context_decision_and_consequences(file: Path) -> None:
    number = DECISIONS.index(file) + 1
    assert file.name.startswith(f"{number:04}-")
    headings = re.findall(r"^#+ .*$", file.read_text("utf-8"), re.MULTILINE)
    assert headings[0].startswith(f"# {number}. ")
    assert headings[1:] == ["## Context", "## Decision", "## Consequences"]


def _anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
