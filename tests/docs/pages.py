"""Reading the docs as tests need them: tables below a heading, and fenced blocks."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


class Block(NamedTuple):
    """A fenced block: its comment (`<!-- run: up -->` gives `run: up`), language, and text."""

    mark: str
    language: str
    text: str


_LINES = re.DOTALL | re.MULTILINE
_BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^>]*?) -->\n)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$",
    _LINES,
)


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of the same or a higher level."""
    level = len(heading) - len(heading.lstrip("#"))
    found = re.search(rf"^{re.escape(heading)}$\n(.*?)(?=^#{{1,{level}}} |\Z)", text, _LINES)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the text's tables, without their heads."""
    found = []
    for table in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        lines = table.strip().splitlines()
        found += [_cells(line) for line in lines[2:]]
    return found


def blocks(text: str) -> list[Block]:
    return [Block(m["mark"] or "", m["language"], m["text"]) for m in _BLOCK.finditer(text)]


def block(text: str, mark: str) -> str:
    """The one block that is marked so."""
    (found,) = [one.text for one in blocks(text) if one.mark == mark]
    return found


def code(cell: str) -> list[str]:
    """What a cell has in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
