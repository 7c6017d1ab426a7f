"""`release-check`: whether this can be released, and what is still open."""

import signal
import time
import tomllib
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from agent.command import Json
from agent.errors import FAILED, INTERRUPTED, UsageError
from agent.output import Output
from agent.releasing.commands import commands
from agent.releasing.git import Checkout
from agent.releasing.item import Finding, Item, Looked, Tell
from agent.releasing.looks import looks
from agent.releasing.progress import waiting
from agent.releasing.report import checklist
from agent.text import one_line, plain, span

ROOT = Path(__file__).resolve().parent.parent
#: Lines of an item's findings on the screen; the report has more.
SHOWN_LINES = 5
#: Of the longest name, so that the times stand below each other.
NAME_WIDTH = 13


def release_check(
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ITEM",
            help="This item, and leave the others open; repeatable. docs/cli.md lists them.",
        ),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="ITEM", help="Leave an item open; repeatable.")
    ] = None,
    report: Annotated[Path, typer.Option(help="Where the report goes.", dir_okay=False)] = Path(
        "docs/reports/release-checklist.md"
    ),
    as_json: Json = False,
) -> int:
    """Go through all that a release asks for; an item that is left out stays open."""
    output = Output(as_json=as_json)
    version = str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])
    items = every_item(version)
    wanted = _wanted([item.name for item in items], only or (), skip or ())
    commit = Checkout(ROOT).commit()  # before our own reports change something
    looked: list[Looked] = []
    stopped = False
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # programs end with us
    try:
        for one in _looked(items, wanted, output):
            looked.append(one)
            _show(one, output)
    except KeyboardInterrupt:
        stopped = True
        looked += [Looked(item, _STOPPED) for item in items[len(looked) :]]
    finally:
        signal.signal(signal.SIGTERM, before)
    report.parent.mkdir(parents=True, exist_ok=True)
    today = datetime.now(UTC).date()
    report.write_text(checklist(looked, version=version, commit=commit, on=today), "utf-8")
    still = [one.item.name for one in looked if not one.finding.done]
    if as_json:
        output.document({"report": str(report), "ready": not still, "open": still})
    else:
        verdict = f"{version} is not ready. Open: {', '.join(still)}."
        output.show(verdict if still else f"{version} is ready.")
        output.note(f"{report} has the report.")
    return INTERRUPTED if stopped else FAILED if still else 0


def every_item(version: str) -> list[Item]:
    """What a release asks for, the quickest first."""
    return [*looks(ROOT, version), *commands(ROOT)]


_LEFT_OUT = Finding(False, "left out")
_STOPPED = Finding(False, "not looked at, for somebody stopped it")


def _wanted(names: list[str], only: Collection[str], skip: Collection[str]) -> Collection[str]:
    if unknown := {*only, *skip} - set(names):
        raise UsageError(f"There is no item {min(unknown)!r}.", f"Items: {', '.join(names)}.")
    return [name for name in names if name not in skip and (not only or name in only)]


def _looked(items: list[Item], wanted: Collection[str], output: Output) -> Iterator[Looked]:
    for item in items:
        if item.name not in wanted:
            yield Looked(item, _LEFT_OUT)
            continue
        begun = time.monotonic()
        with waiting(output, item.name) as tell:
            finding = _found(item, tell)
        yield Looked(item, finding, time.monotonic() - begun)


def _found(item: Item, tell: Tell) -> Finding:
    """One that fails in a way of its own leaves itself open, and the others go on."""
    try:
        return item.look(tell)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return Finding(False, one_line(f"{type(error).__name__}: {error}", 300))


def _show(one: Looked, output: Output) -> None:
    if one.seconds is None:
        return
    done, more = one.finding.done, one.finding.more
    line = Text("✓ " if done else "✗ ", "green" if done else "red")
    line.append(f"{one.item.name:<{NAME_WIDTH}}", "default")
    line.append(f" {span(one.seconds):>7}  ", "dim").append(plain(one.finding.why), "default")
    output.err.print(line, soft_wrap=True)
    for text in more[:SHOWN_LINES]:
        output.note(f"  {text}")
    if len(more) > SHOWN_LINES:
        output.note(f"  and {len(more) - SHOWN_LINES} more")
    if not done:
        see = f"; see {one.item.output}" if one.item.output else ""
        output.note(f"  by `{one.item.command}`{see}")
