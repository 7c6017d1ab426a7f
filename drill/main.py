"""A drill for the command line: makes the plan, carries it out, writes the report."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from drill.naive_run import run_naive
from drill.page import page
from drill.plan import make_plan
from drill.progress import Progress
from drill.records import Log
from drill.report import document, naive_document, naive_table, table
from drill.run import Drill


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What came of a drill, for whoever typed the command."""

    passed: bool
    table: Table
    document: dict[str, Any]


async def run_drill(
    *, seed: int, minutes: float, runs: int, report: Path, record: Path, console: Console
) -> Told:
    """Carry the drill of a seed out, and write `report` and `record`.

    Raises:
        StackError: the stack cannot be started.
    """
    progress = Progress(console)
    progress.phase(f"seed {seed}")
    try:
        with Log(record) as log:
            drill = Drill(
                plan=make_plan(seed=seed, minutes=minutes, runs=runs),
                minutes=minutes,
                log=log,
                progress=progress,
            )
            result = await drill.carry_out()
    finally:
        progress.close()
    await asyncio.to_thread(_write, report, page(result, record.name))
    return Told(passed=result.passed, table=table(result), document=document(result))


async def run_naive_drill(
    *, seed: int, minutes: float, runs: int, record: Path, console: Console
) -> Told:
    """The same before naive workers; no report is written.

    Raises:
        StackError: the stores cannot be started.
    """
    progress = Progress(console)
    progress.phase(f"seed {seed}, naive workers")
    try:
        with Log(record) as log:
            violations, kills = await run_naive(
                seed=seed, minutes=minutes, runs=runs, log=log, progress=progress
            )
            for violation in violations:
                log.add("violation", violation=violation)
    finally:
        progress.close()
    return Told(
        passed=not violations,
        table=naive_table(runs, kills, violations),
        document=naive_document(seed, runs, kills, violations),
    )


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
