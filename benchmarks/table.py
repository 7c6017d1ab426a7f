"""The table: one row per quantity, for Baton and the floors, with the goal beside it."""

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import cpu_count, getloadavg
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    load = getloadavg()[0]
    return f"{cpu_count()} CPUs, {model}, Python {platform.python_version()}, load {load:.1f}"


@dataclass(slots=True, kw_only=True)
class Row:
    """One quantity. `goal` is a limit: `most` says that smaller is better."""

    name: str
    unit: str
    baton: float | None = None
    bare_sdk: float | None = None
    bare_pipe: float | None = None
    goal: float | None = None
    most: bool = True
    below_floors: bool = False
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether Baton is where it should be; `None` where there is no goal."""
        if self.goal is None or self.baton is None:
            return None
        if self.below_floors and any(f is not None and f < self.baton for f in self._floors):
            return False
        return self.baton <= self.goal if self.most else self.baton >= self.goal

    @property
    def of_bare_sdk(self) -> float | None:
        """How many times the bare SDK's it is, in the same run on the same machine."""
        if self.baton is None or not self.bare_sdk:
            return None
        return self.baton / self.bare_sdk

    @property
    def _floors(self) -> tuple[float | None, float | None]:
        return self.bare_sdk, self.bare_pipe

    def goal_in_words(self) -> str:
        """The goal as people read it."""
        if self.goal is None:
            return ""
        floors = ", below both" if self.below_floors else ""
        return f"{'≤' if self.most else '≥'} {_number(self.goal)}{floors}"

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "name": self.name,
            "unit": self.unit,
            "baton": self.baton,
            "bareSdk": self.bare_sdk,
            "barePipe": self.bare_pipe,
            "ofBareSdk": self.of_bare_sdk,
            "goal": self.goal_in_words() or None,
            "reached": self.reached,
            "note": self.note,
        }


@dataclass(slots=True)
class Result:
    """All rows of one run of the bench, and where it ran."""

    rows: list[Row] = field(default_factory=list)
    machine: str = field(default_factory=_machine)
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))

    def show(self, console: Console) -> None:
        """Print the table."""
        table = Table(title=f"{self.machine}, {self.begun:%Y-%m-%d %H:%M} UTC", title_style="")
        table.add_column("")
        for heading in ("Baton", "bare SDK", "bare pipe", "of the SDK", "goal"):
            table.add_column(heading, justify="right")
        table.add_column("")
        for row in self.rows:
            shown = (_number(value) for value in (row.baton, row.bare_sdk, row.bare_pipe))
            verdict = {None: "", True: "[green]reached[/]", False: "[red]not reached[/]"}
            ratio = "" if row.of_bare_sdk is None else f"{row.of_bare_sdk:.2f}"
            table.add_row(
                f"{row.name} ({row.unit})",
                *(*shown, ratio, row.goal_in_words(), verdict[row.reached]),
            )
        console.print(table)
        for row in self.rows:
            if row.note:
                console.print(f"{row.name}: {row.note}", style="dim", highlight=False)
        console.print(self._verdict(), highlight=False, soft_wrap=True)

    def _verdict(self) -> str:
        """How many goals are reached, and which are not."""
        judged = [row for row in self.rows if row.reached is not None]
        missed = [row.name for row in judged if not row.reached]
        if not judged:
            return "none of these rows has a goal"
        told = f"{len(judged) - len(missed)} of {len(judged)} goals reached"
        return f"{told}; not {', not '.join(missed)}" if missed else told

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "machine": self.machine,
            "begun": self.begun.isoformat(),
            "rows": [row.as_json() for row in self.rows],
        }


def parts(values: dict[str, float], show: Callable[[float], str]) -> str:
    """What each process takes, for a note."""
    return ", ".join(f"{name} {show(value)}" for name, value in values.items())


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
