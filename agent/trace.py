"""`trace`: what a run did and how long each part took."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from agent.client import part
from agent.command import Json, Url, opened
from agent.output import Output, state
from agent.text import arguments, between, died, one_line, plain, span, when

#: Width of the picture that shows when each part began and how long it took.
PICTURE = 24
#: A terminal narrower than this has no room for the picture.
ROOM_FOR_PICTURE = 90

_STYLES = {"agent": "magenta", "function": "cyan", "generation": "green", "response": "green"}


def trace(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show a run's trace: model calls, tools and hand-offs as a tree, with durations."""
    with opened(url, as_json) as cli:
        found = cli.gateway.get(f"/api/runs/{part(run)}/trace")
        if as_json:
            cli.output.document(found)
            return
        about = cli.gateway.get(f"/api/runs/{part(run)}")
        _show(cli.output, found, about)


def _show(output: Output, found: dict[str, Any], run: dict[str, Any]) -> None:
    head = Text.assemble(
        (plain(found["traceId"]), "bold"), "  ", state(run["status"]), "  ",
        between(run["startedAt"], run["endedAt"]),
    )  # fmt: skip
    output.show(head)
    if found.get("deleted"):
        output.note("Spans of this trace were deleted, as retention says.")
    if not found["spans"]:
        if not found.get("deleted"):
            output.note("No spans yet.")
        return
    rows = list(_rows(found["spans"]))
    clock = _Clock([each for each, *_ in rows])
    shown = Table.grid(padding=(0, 2, 0, 0))
    shown.add_column(no_wrap=True, overflow="ellipsis")
    shown.add_column(justify="right", no_wrap=True)
    if pictured := output.out.width >= ROOM_FOR_PICTURE:
        shown.add_column(no_wrap=True)
    for each, line, below in rows:
        took = clock.took(each)
        picture = [Text(clock.picture(each), "cyan")] if pictured else []
        shown.add_row(line, Text(took, "dim"), *picture)
        if isinstance(error := each.get("error"), dict):
            inner = error.get("data")
            detail = inner.get("error") if isinstance(inner, dict) else None
            message = detail or error.get("message") or "failed"
            shown.add_row(Text.assemble((below, "dim"), (f"✗ {one_line(message)}", "red")))
    output.show(shown)
    if deaths := died(run):
        output.note(f"{deaths}; what they began after it is in no span.")
    if found.get("truncated"):
        output.note("There are more spans than are shown.")


def _rows(
    spans: list[dict[str, Any]], before: str = ""
) -> Iterator[tuple[dict[str, Any], Text, str]]:
    """Each span with its line of the tree, and what more lines of it begin with; depth first."""
    for number, each in enumerate(spans, 1):
        last = number == len(spans)
        inside = before + ("   " if last else "│  ")
        line = Text.assemble((before + ("└─ " if last else "├─ "), "dim"), _label(each))
        yield each, line, inside + ("│  " if each["children"] else "")
        yield from _rows(each["children"], inside)


def _label(each: dict[str, Any]) -> Text:
    data = each["data"]
    kind = str(each["type"] or "span")
    given = data.get("data")
    inner: dict[str, Any] = given if isinstance(given, dict) else {}
    if kind == "custom":
        kind = str(inner.get("sdk_span_type") or "custom")
    name, more = str(inner.get("name") or each["name"] or ""), ""
    match kind:
        case "turn":
            name, more = f"turn {inner.get('turn', '')}", _tokens(inner.get("usage"))
        case "task":
            more = _tokens(inner.get("usage"))
        case "generation" | "response":
            name, more = str(data.get("model") or ""), _tokens(data.get("usage"))
        case "function":
            more = arguments(str(data.get("input") or ""), 40)
        case "handoff":
            name = f"{data.get('from_agent')} → {data.get('to_agent')}"
        case "guardrail":
            more = "tripped" if data.get("triggered") else "passed"
    shown = "model" if kind in ("generation", "response") else kind.replace("function", "tool")
    named = "" if kind == "turn" else f"{one_line(shown, 20)} "
    label = Text.assemble((named, "dim"), (one_line(name, 60), _STYLES.get(kind, "")))
    return label.append(f"  {one_line(more, 60)}" if more else "", "dim")


def _tokens(usage: object) -> str:
    if not isinstance(usage, dict) or not usage:
        return ""
    return f"{usage.get('input_tokens', 0):,} → {usage.get('output_tokens', 0):,} tokens"


class _Clock:
    """When the trace began and ended; open spans last until its end."""

    def __init__(self, spans: list[dict[str, Any]]) -> None:
        moments = [when(each[at]) for each in spans for at in ("startedAt", "endedAt")]
        known = [moment for moment in moments if moment]
        self._begin = min(known, default=None)
        self._end = max(known, default=None)

    def took(self, each: dict[str, Any]) -> str:
        began, ended = when(each["startedAt"]), when(each["endedAt"])
        return span((ended - began).total_seconds()) if began and ended else "open"

    def picture(self, each: dict[str, Any]) -> str:
        began, ended = when(each["startedAt"]), when(each["endedAt"]) or self._end
        first = self._column(began)
        last = max(first, self._column(ended))
        return " " * first + "━" * (last - first + 1)

    def _column(self, moment: datetime | None) -> int:
        if moment is None or self._begin is None or self._end is None:
            return 0
        whole = (self._end - self._begin).total_seconds() or 1
        part_of = (moment - self._begin).total_seconds() / whole
        return min(PICTURE - 1, max(0, int(part_of * PICTURE)))
