"""`runs`: what was asked, how it went, what goes on."""

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer
from rich.text import Text

from agent.approvals import asked_by, how_to_decide
from agent.client import part
from agent.command import Cli, Cursor, Json, Limit, ListByDefault, Url, opened
from agent.errors import INTERRUPTED, WAITS, UsageError
from agent.interrupts import LeftError
from agent.output import Listing, fields, state
from agent.saving import write_file
from agent.text import ago, between, count, died, one_line, plain
from agent.turn import shown_from
from agent.verify import exported
from shared.protocol.position import Position, parse_position

app = typer.Typer(cls=ListByDefault, help="List, inspect, watch, cancel and export runs.")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]


class Status(StrEnum):
    """Which runs to list."""

    LIVE = "live"
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    FAILED = "failed"


@app.command("list")
def list_runs(
    status: Annotated[Status | None, typer.Option("--status", help="Only these.")] = None,
    thread: Annotated[
        str | None, typer.Option("--thread", metavar="ID", help="Only of this thread.")
    ] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List your runs, the newest first."""
    with opened(url, as_json) as cli:
        wanted = None if status is None else str(status)
        page = cli.gateway.get(
            "/api/runs", status=wanted, threadId=thread, limit=limit, cursor=cursor
        )
        rows = [
            (
                one["id"],
                _state(one),
                one["agent"],
                ago(one["createdAt"]),
                between(one["startedAt"], one["endedAt"]),
                one_line((one["error"] or {}).get("code", ""), 30),
            )
            for one in page["data"]
        ]
        shown = Listing(("run", "status", "agent", "asked", "took", "error"), rows, elastic="agent")
        cli.output.page(page, shown, "No such runs.", "baton runs list")


@app.command("show")
def show_run(run: RunId, url: Url = None, as_json: Json = False) -> None:
    """Show one run: status, times, tokens, error, and what it asks."""
    with opened(url, as_json) as cli:
        found = cli.gateway.get(f"/api/runs/{part(run)}")
        if as_json:
            cli.output.document(found)
        else:
            waits = found["status"] == Status.INTERRUPTED and not found.get("resumedBy")
            asked = asked_by(cli.gateway, run) if waits else []
            cli.output.show(fields(_described(found, asked)))
            if asked:
                cli.output.note(how_to_decide(run))


@app.command("tail")
def tail_run(
    run: RunId,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="CURSOR", help="Only events after it, such as 3-17."),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Watch a run: what it did, then live, until it ends.

    With --json every event is one line `{"id", "event"}`; `id` is the cursor to go on from. The
    exit status is that of `chat`. Ctrl-C leaves; the run goes on.
    """
    position = None if after is None else _position(after)
    with opened(url, as_json) as cli:
        status = asyncio.run(_tail(cli, run, position))
        if status == WAITS and not as_json and asked_by(cli.gateway, run):
            cli.output.note(f"  {how_to_decide(run)}")
        raise typer.Exit(status)


@app.command("cancel")
def cancel_run(run: RunId, url: Url = None, as_json: Json = False) -> None:
    """Ask a run to stop. One that has ended stays as it is."""
    with opened(url, as_json) as cli:
        stopped = cli.gateway.post(f"/api/runs/{part(run)}/cancel")
        if as_json:
            cli.output.document(stopped)
        elif stopped["status"] in (Status.QUEUED, Status.RUNNING):
            cli.output.show(f"{plain(stopped['runId'])} is being stopped.")
        else:
            how = plain(stopped["status"])
            cli.output.show(f"{plain(stopped['runId'])} had ended already: {how}.")


@app.command("poisoned")
def list_poisoned(
    limit: Limit = 20, cursor: Cursor = None, url: Url = None, as_json: Json = False
) -> None:
    """List runs that ended every process that carried them, and how. For admins."""
    with opened(url, as_json, admin=True) as cli:
        page = cli.gateway.get("/api/poisoned", limit=limit, cursor=cursor)
        rows = [
            (
                one["id"],
                one["agent"],
                one["email"],
                ago(one["endedAt"]),
                (one["death"] or {}).get("status", ""),
                one_line(((one["death"] or {}).get("lines") or [""])[-1], 60),
                one["requeuedBy"] or "",
            )
            for one in page["data"]
        ]
        columns = ("run", "agent", "of", "ended", "died by", "last words", "requeued as")
        shown = Listing(columns, rows, elastic="last words")
        cli.output.page(page, shown, "No poisoned runs.", "baton runs poisoned")


@app.command("requeue")
def requeue_run(
    run: RunId,
    user: Annotated[
        str | None, typer.Option("--user", metavar="EMAIL", help="Whose run it is.")
    ] = None,
    old_code: Annotated[
        bool, typer.Option("--old-code", help="With the code it had, if a runner still has that.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Try a poisoned run again, after its last finished step; admins anybody's.

    It runs the newest code of its agent. Where that does not fit what was done before, it ends with
    `journal_diverged`.
    """
    with opened(url, as_json, admin=True) as cli:
        how = {"user": user} if user else {}
        if old_code:
            how["oldCode"] = "true"
        query = f"?{urlencode(how)}" if how else ""
        made = cli.gateway.post(f"/api/runs/{part(run)}/requeue{query}")
        if as_json:
            cli.output.document(made)
        else:
            code = "the code it had" if old_code else "the newest code of its agent"
            again = f"{plain(run)} is tried again as {plain(made['runId'])}, with {code}."
            cli.output.show(again)


@app.command("export")
def export_run(
    run: RunId,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; else standard output."),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write a run that has ended as lines of JSON that prove themselves; see `verify`."""
    with opened(url, as_json) as cli:
        pieces = exported(cli.gateway, run)
        if output is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        size = write_file(Path(output), pieces)
        if as_json:
            cli.output.document({"run": run, "file": output, "bytes": size})
        else:
            cli.output.note(f"{size:,} bytes in {output}. Check them with: baton verify {output}")


async def _tail(cli: Cli, run: str, after: Position | None) -> int:
    try:
        return await shown_from(cli, run, after, question=True, cancellable=False)
    except LeftError:
        return INTERRUPTED


def _position(text: str) -> Position:
    position = parse_position(text)
    if position is None:
        raise UsageError(
            f"--after: {text[:80]!r} is not a cursor.",
            "Cursors look like 3-17; `baton runs tail RUN --json` prints them as `id`.",
        )
    return position


def _state(run: dict[str, Any]) -> Text:
    """Its status, and whether another run has gone on with it."""
    return Text.assemble(state(run["status"]), " (went on)" if run.get("resumedBy") else "")


def _described(run: dict[str, Any], asked: list[Text]) -> list[tuple[str, str | Text]]:
    error = run["error"]
    waits = Text.assemble(state(run["status"]), " (waits for another run of its thread)")
    pairs: list[tuple[str, str | Text | None]] = [
        ("run", run["id"]),
        ("status", waits if run["queued"] else state(run["status"])),
        ("error", Text(f"{plain(error['message'])} ({plain(error['code'])})") if error else None),
        ("deaths", died(run) or None),
        ("resumes", run["parentRunId"]),
        ("asks", Text("\n").join(asked) if asked else None),
        ("goes on as", run.get("resumedBy")),
        ("agent", run["agent"]),
        ("thread", run["threadId"]),
        ("asked", f"{run['createdAt']} ({ago(run['createdAt'])})"),
        ("waited", between(run["createdAt"], run["startedAt"])),
        ("took", between(run["startedAt"], run["endedAt"])),
        ("tokens", "\n".join(map(_usage, run["usage"] or [])) or None),
        ("trace", run["traceId"]),
    ]
    return [(name, value) for name, value in pairs if value is not None]


def _usage(one: dict[str, Any]) -> str:
    given, made = int(one.get("inputTokens") or 0), int(one.get("outputTokens") or 0)
    return f"{one.get('model')}: {count(given, 'token')} in, {made:,} out"
