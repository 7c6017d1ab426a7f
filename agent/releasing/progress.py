"""What goes on, for whoever waits for an hour."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

from agent.output import Output
from agent.releasing.item import Tell
from agent.text import one_line, span

#: Without a screen, a line so often.
LINE_EVERY_S = 60.0


@contextmanager
def waiting(output: Output, name: str) -> Iterator[Tell]:
    """Show that an item is looked at, and what it last said; on a screen the line goes again."""
    if not output.err.is_terminal:
        yield _lines(output, name)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}", style="dim", table_column=Column(no_wrap=True, ratio=1)),
    )
    with Progress(*columns, console=output.err, transient=True, expand=True) as progress:
        task = progress.add_task(name, total=None, said="")
        yield lambda said: progress.update(task, said=one_line(said, output.err.width))


def _lines(output: Output, name: str) -> Tell:
    begun = said_at = time.monotonic()
    output.note(f"…     {name}")

    def tell(said: str) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= LINE_EVERY_S:
            said_at = time.monotonic()
            output.note(f"…     {name}, {span(said_at - begun)}: {one_line(said)}")

    return tell
