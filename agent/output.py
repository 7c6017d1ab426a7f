"""What a command prints: answers to standard output, everything else to standard error.

With `--json` standard output holds JSON only, in ASCII, so that it survives every pipe.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from agent.errors import CliError
from agent.text import plain

#: Where nobody looks at a screen, nothing is folded to its width.
PIPE_WIDTH = 240

#: Between columns, and of a column that has to give way.
GAP, NARROWEST = 2, 8

#: Colours of states; what is not here has none.
STYLES = {
    "running": "cyan",
    "queued": "yellow",
    "interrupted": "yellow",
    "failed": "red",
    "cancelled": "dim",
    "finished": "green",
    "unknown": "red",
    "done": "green",
}


class Listing:
    """A quiet table. Only its `elastic` column is ever cut, for people copy from the others."""

    def __init__(
        self, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, elastic: str
    ) -> None:
        self._rows = [[Text(column, "dim") for column in columns]]
        self._rows += [[_cell(cell) for cell in row] for row in rows]
        self._elastic = columns.index(elastic)

    def lines(self, width: int) -> Iterator[Text]:
        """Its lines on a screen of so many cells."""
        widths = [max(cell.cell_len for cell in column) for column in zip(*self._rows, strict=True)]
        too_much = sum(widths) + GAP * (len(widths) - 1) - width
        widths[self._elastic] = max(NARROWEST, widths[self._elastic] - max(0, too_much))
        for row in self._rows:
            row[self._elastic].truncate(widths[self._elastic], overflow="ellipsis")
            line = Text()
            for cell, room in zip(row, widths, strict=True):
                line.append_text(cell).append(" " * (room - cell.cell_len + GAP))
            line.rstrip()
            yield line


def _cell(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(plain(cell))


class Output:
    """Where a command writes."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    def document(self, value: Any) -> None:
        """The one JSON document of a command."""
        self.out.file.write(json.dumps(value, indent=2) + "\n")

    def line(self, value: Any) -> None:
        """One of many JSON values, a line each, at once."""
        self.out.file.write(json.dumps(value, separators=(",", ":")) + "\n")
        self.out.file.flush()

    def show(self, what: RenderableType) -> None:
        """An answer for people."""
        whole = (
            isinstance(what, (str, Text)) and not self.out.is_terminal
        )  # a pipe gets whole lines
        self.out.print(what, soft_wrap=whole)

    def note(self, text: str, style: str = "dim") -> None:
        """Something beside the answer."""
        self.err.print(Text(plain(text), style), soft_wrap=True)

    def listing(self, listing: Listing) -> None:
        """A table for people."""
        for line in listing.lines(self.out.width):
            self.show(line)

    def page(self, page: dict[str, Any], listing: Listing, nothing: str, more: str) -> None:
        """A page of a list, as it came or as a table."""
        if self.as_json:
            self.document(page)
        elif not page["data"]:
            self.note(nothing)
        else:
            self.listing(listing)
            if page.get("next"):
                self.note(f"There is more: {more} --cursor {page['next']}")


def fields(pairs: Iterable[tuple[str, str | Text]]) -> Table:
    """Names and values, one pair a line."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, value if isinstance(value, Text) else Text(plain(value)))
    return made


def state(status: str) -> Text:
    """A status in its colour."""
    return Text(plain(status), STYLES.get(status, ""))


def print_error(error: CliError, *, as_json: bool) -> None:
    """Tell why a command failed, on standard error."""
    console = _console(sys.stderr)
    if as_json:
        told = {"code": error.code, "message": plain(error.message), "hint": error.hint}
        console.file.write(json.dumps({"error": told}) + "\n")
        return
    line = Text("baton: ", "red")
    line.append(plain(error.message), "default")
    console.print(line, soft_wrap=True)
    if error.hint:
        console.print(Text(plain(error.hint), "dim"), soft_wrap=True)


def _console(file: Any) -> Console:
    if hasattr(file, "reconfigure"):
        file.reconfigure(errors="replace")  # a terminal without UTF-8 gets question marks
    width = None if file.isatty() else PIPE_WIDTH
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)
