"""`drill`: break a stack on purpose and judge what came of it."""

import asyncio
import secrets
from pathlib import Path
from typing import Annotated

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
    as_json: Json = False,
) -> int:
    """Start a stack of its own, break it while clients watch, and judge it from outside."""
    # Only this command needs the drill and the stack: the others start faster without them.
    from drill.main import run_drill  # noqa: PLC0415
    from stack.errors import StackError  # noqa: PLC0415

    output = Output(as_json=as_json)
    chosen = secrets.randbelow(1_000_000) if seed is None else seed
    record_file = record or Path(".baton") / f"drill-{chosen}.ndjson"
    try:
        result = asyncio.run(
            run_drill(
                seed=chosen,
                minutes=minutes,
                runs=runs,
                report=report,
                record=record_file,
                console=output.err,
            )
        )
    except StackError as error:
        raise CliError(f"The drill could not go on: {error}") from error
    if as_json:
        output.document(result.document)
    else:
        output.show(result.table)
        output.note(f"{report} has the report, {record_file} all that happened.")
    return 0 if result.passed else FAILED
