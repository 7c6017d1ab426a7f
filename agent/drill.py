"""`drill`: break a stack on purpose and judge what came of it."""

import asyncio
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.command import Json
from agent.errors import FAILED, CliError
from agent.output import Output


def drill(
    minutes: Annotated[float, typer.Option(min=0.1, max=600, help="For how long.")] = 5,
    runs: Annotated[int, typer.Option(min=1, max=20_000, help="How many runs.")] = 300,
    seed: Annotated[
        int | None, typer.Option(help="Decides what is said and what breaks when.")
    ] = None,
    report: Annotated[Path, typer.Option(help="Where the report goes.", dir_okay=False)] = Path(
        "docs/reports/drill.md"
    ),
    record: Annotated[
        Path | None,
        typer.Option(help="Where all that happened goes; else into .baton.", dir_okay=False),
    ] = None,
    naive: Annotated[
        bool, typer.Option("--naive", help="Judge workers as everybody writes them first.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Start a stack of its own, break it while clients watch, and judge it from outside."""
    # Only this command needs the drill and the stack: the others start faster without them.
    from drill.main import run_drill, run_naive_drill  # noqa: PLC0415
    from stack.errors import StackError  # noqa: PLC0415

    output = Output(as_json=as_json)
    chosen = secrets.randbelow(1_000_000) if seed is None else seed
    record_file = record or Path(".baton") / f"drill-{chosen}.ndjson"
    common: dict[str, Any] = {
        "seed": chosen,
        "minutes": minutes,
        "runs": runs,
        "record": record_file,
    }
    try:
        result = asyncio.run(
            run_naive_drill(**common, console=output.err)
            if naive
            else run_drill(**common, report=report, console=output.err)
        )
    except StackError as error:
        hint = f"{record_file} has all that was printed."
        raise CliError(f"The drill could not go on: {error}", hint=hint) from error
    if as_json:
        output.document(result.document)
    else:
        output.show(result.table)
        verdict = "Passed" if result.passed else "FAILED"
        told = "" if naive else f"{verdict}: {report} has the report, "
        output.note(f"{told}{record_file} has all that happened.")
    return 0 if result.passed else FAILED
