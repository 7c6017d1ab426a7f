"""What came of the conversations: a cell for each client, upstream and conversation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from matrix.kinds import CONVERSATIONS

#: Conversations of which is told what the client did, and what came of it.
TOLD = ("approval", "leave", "cancel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One conversation: it went well, or `why` it did not, or the client does not offer it."""

    why: str | None = None
    #: What was done and what came of it; or why there is none of it.
    note: str | None = None
    offered: bool = True

    def __str__(self) -> str:
        """What the table says."""
        if self.why is not None:
            return "**fails**"
        return "ok" if self.offered else "n/a"


@dataclass(slots=True)
class Row:
    """One client at one upstream."""

    client: str
    upstream: str
    version: str | None = None
    #: Why it could not be tried at all.
    missing: str | None = None
    #: Conversation → what came of it.
    found: dict[str, Cell] = field(default_factory=dict)

    @property
    def cells(self) -> dict[str, Cell]:
        """All cells; what did not come is a failure."""
        if self.missing:
            return {}
        silent = Cell(why="no answer came")
        return {name: self.found.get(name, silent) for name in CONVERSATIONS}

    @property
    def failures(self) -> dict[str, str]:
        """What went wrong, or did not come."""
        return {name: cell.why for name, cell in self.cells.items() if cell.why is not None}


def page(rows: Sequence[Row], *, release: str, on: date, by: str) -> str:
    """The report, in Markdown; `by`: what ran the clients."""
    head = f"""# Compatibility matrix

Made by `baton matrix` on {on.isoformat()}, release {release}, with {by}. Each cell is a real
conversation of an unmodified client with a stack of its own, before a demo model that speaks one
API; [the command](../cli.md#matrix) tells what is said. n/a: the client has no way to do it.

| client | version | upstream | date | {" | ".join(CONVERSATIONS)} |
|---|---|---|---|{"---|" * len(CONVERSATIONS)}
"""
    table = "\n".join(_line(row, on) for row in rows)
    failed = [
        f"- {row.client}, {row.upstream}, {name}: {_plain(why)}"
        for row in rows
        for name, why in row.failures.items()
    ]
    return f"""{head}{table}

## What failed, and why

{_lines(failed) or "Nothing failed."}

## What a client has no way to do

{_lines(_not_offered(rows)) or "Everything was tried."}

## What the clients did, and what came of it

| client | {" | ".join(TOLD)} |
|---|{"---|" * len(TOLD)}
{_lines(_done(rows))}
"""


def _line(row: Row, on: date) -> str:
    if row.missing:
        cells = [f"not tried: {_plain(row.missing)}", *[""] * (len(CONVERSATIONS) - 1)]
    else:
        cells = [str(cell) for cell in row.cells.values()]
    first = [row.client, row.version or "-", row.upstream, on.isoformat()]
    return f"| {' | '.join([*first, *cells])} |"


def _not_offered(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        for name, cell in row.cells.items():
            if not cell.offered:
                yield f"- {row.client}, {name}: {_plain(cell.note or '')}"


def _done(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each client; both upstreams together, where nothing differs."""
    for client in dict.fromkeys(row.client for row in rows if not row.missing):
        mine = [row.cells for row in rows if row.client == client and not row.missing]
        told = [
            _plain(" / ".join(dict.fromkeys(cells[name].note or "-" for cells in mine)))
            for name in TOLD
        ]
        yield f"| {client} | {' | '.join(told)} |"


def _lines(lines: Sequence[str] | Iterator[str]) -> str:
    return "\n".join(dict.fromkeys(lines))


def _plain(text: str) -> str:
    """Others' words on one line of a table."""
    return " ".join(text.split()).replace("|", "\\|")[:400]
