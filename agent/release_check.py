"""`release-check`: whether this can be released, and what is still open."""

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from agent.command import Json
from agent.errors import FAILED, UsageError
from agent.output import Output
from agent.release_items import LOOKS, Item, by_command, checklist, commands

ROOT = Path(__file__).resolve().parent.parent


def release_check(
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave an item open; may be given several times.")
    ] = None,
    report: Annotated[Path, typer.Option(help="Where the report goes.", dir_okay=False)] = Path(
        "docs/reports/release-checklist.md"
    ),
    as_json: Json = False,
) -> int:
    """Go through all that a release asks for; an item that is left out stays open."""
    output = Output(as_json=as_json)
    names = [*LOOKS, *commands()]
    skipped = set(skip or ())
    if unknown := skipped - set(names):
        raise UsageError(f"There is no item {min(unknown)!r}.", f"Items: {', '.join(names)}.")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    version = str(project["version"])
    items = []
    for item in _items(version, skipped):
        items.append(item)
        output.note(f"{'done' if item.done else 'OPEN'}  {item.name}: {item.why}")
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(checklist(items, version=version, on=datetime.now(UTC).date()), "utf-8")
    still = [one.name for one in items if not one.done]
    if as_json:
        output.document({"report": str(report), "ready": not still, "open": still})
    else:
        output.show(f"not ready: {', '.join(still)}" if still else f"{version} is ready")
    return FAILED if still else 0


def _items(version: str, skipped: set[str]) -> Iterator[Item]:
    for name, look in LOOKS.items():
        yield _left_out(name) if name in skipped else look(ROOT, version)
    for name, command in commands().items():
        yield _left_out(name) if name in skipped else by_command(name, command, ROOT)


def _left_out(name: str) -> Item:
    return Item(name, done=False, why="left out")
