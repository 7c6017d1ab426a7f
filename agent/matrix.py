"""`matrix`: hold conversations through others' clients, and write what came of them."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from agent.command import Json
from agent.errors import FAILED, CliError, UsageError
from agent.output import Output

#: Of all clients; it is kept.
_REPORT = Path("docs/reports/compatibility-matrix.md")


def matrix(
    client: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="This client only; may be given several times. docs/cli.md lists them.",
        ),
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Install clients that are not here, each by itself.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the report goes; else docs/reports/compatibility-matrix.md, or, with some "
            "clients only, .baton/matrix/report.md.",
            dir_okay=False,
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Start a stack for each kind of model server, and talk to it through many clients."""
    # Only this command needs them: the others start faster without.
    from matrix.cells import page  # noqa: PLC0415
    from matrix.kinds import CLIENTS  # noqa: PLC0415
    from matrix.main import release, run_by, tried  # noqa: PLC0415
    from stack.errors import StackError  # noqa: PLC0415

    output = Output(as_json=as_json)
    if unknown := set(client or ()) - set(CLIENTS):
        raise UsageError(f"There is no client {min(unknown)!r}.", f"Clients: {', '.join(CLIENTS)}.")
    home = Path(".baton") / "matrix"
    home.mkdir(parents=True, exist_ok=True)
    clients = client or list(CLIENTS)
    try:
        rows = asyncio.run(tried(clients, home, install=install, tell=output.note))
    except StackError as error:
        raise CliError(f"The matrix could not be made: {error}") from error
    text = page(rows, release=release(), on=datetime.now(UTC).date(), by=run_by())
    report = report or (home / "report.md" if client else _REPORT)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(text, "utf-8")
    missing = sum(row.missing is not None for row in rows)
    failed = {f"{row.client}, {row.upstream}": row.failures for row in rows if row.failures}
    if as_json:
        output.document({"report": str(report), "failed": failed})
    else:
        untried = f" Rows that were not tried: {missing}; it says why." if missing else ""
        few = f"{len(failed)} of {len(rows)} rows have failures."
        output.note(f"{report} has the report; {few}{untried}")
    return FAILED if failed else 0
