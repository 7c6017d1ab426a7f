"""Processes with a fault each, forked from one that has imported everything: `Nursery`.

A fork takes milliseconds where a start takes a second, and hundreds of points want a process each.
All of them end with whoever holds the nursery's standard input.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stack.program import ROOT
from tests.faults.points import modules_behind, points_of

#: From here on a runner has to do with a run; its start passes some points as well.
CLAIMS = "runner.worker:Worker._ask _claim before"

#: Where a run's way through a runner begins, and its way through toolsvc.
_RUNNER = ("runner.worker", "runner.invocations", "runner.hints")
_TOOLSVC = ("toolsvc.runs.record", "toolsvc.runs.rering", "toolsvc.tool_api")

#: What is not on that way, each for its reason.
_BESIDE = {
    "runs that are carried alone, for which tests/faults/test_poison.py kills processes": (
        *("runner.isolation", "runner.lone_process", "toolsvc.runs.deaths"),
    ),
    "agents that their own code makes or runs: tests/runner/replay/test_authors_code.py": (
        "runner.author_loop",
    ),
    "long threads and runs: tests/runner/replay/test_compaction.py, test_folding.py": (
        *("runner.compaction.agent", "runner.compaction.folding", "runner.compaction.threads"),
    ),
    "connections, which a run makes anew: tests/runner/replay/test_mcp_servers.py": (
        "runner.mcp_servers",
    ),
    "waits for the lease, and does nothing": ("runner.own_lease",),
    "the calls inside have points; these make clients, carry bytes, and close at the end": (
        *("runner.models.attached", "runner.models.client", "runner.models.detect"),
        "runner.models.provider",
        *("runner.models.transport", "toolsvc.tool_http"),
    ),
    "caches, which a run does without": ("runner.snapshots",),
    "tests/faults/test_failover.py": ("shared.bus.sentinel",),
    "counts what is asked for, before anything is begun": ("shared.bus.limits",),
    "called by gateways, or when a process begins": ("shared.db.engine", "shared.db.path"),
    "what a heartbeat brings along about model servers": ("toolsvc.runs.providers",),
    "inside transactions, before and behind which there are points": ("toolsvc.runs.resumed",),
}

#: What lies between the claim of a run and its end.
MODULES = modules_behind(*_RUNNER, *_TOOLSVC, beside=chain(*_BESIDE.values()))


class Act(StrEnum):
    """What happens to a process at its point."""

    KILL = "kill"  #: SIGKILL
    FREEZE = "freeze"  #: SIGSTOP; the test sends SIGCONT
    END = "end"  #: SIGTERM, and the process goes on to its end
    CUT = "cut"  #: what is awaited there fails as a lost connection does


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One act, done once, as the point is passed after each point of `armed_by` was, in order."""

    point: str
    act: Act = Act.KILL
    armed_by: tuple[str, ...] = ()


@dataclass(slots=True)
class Forked:
    """A process of the nursery."""

    pid: int
    log: Path
    status: asyncio.Future[int] = field(default_factory=asyncio.Future)

    @property
    def lives(self) -> bool:
        """Whether it has not ended yet."""
        return not self.status.done()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal, if it lives."""
        if self.lives:
            os.kill(self.pid, number)

    async def ended(self) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        return await asyncio.shield(self.status)

    def said(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        lines = self.log.read_text("utf-8", "replace").split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def runs(self) -> list[str]:
        """The runs that it has carried."""
        return [line["run"] for line in self.said() if line.get("event") == "carries a run"]


class Nursery:
    """Starts processes of ours, each with faults of its own."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process, self._folder = process, folder
        self._count = 0
        self._starting: dict[int, asyncio.Future[Forked]] = {}
        self._running: dict[int, Forked] = {}

    async def start(
        self,
        program: str,
        env: Mapping[str, str],
        *faults: Fault,
        record: Path | None = None,
        constants: Mapping[str, float] = MappingProxyType({}),
    ) -> Forked:
        """Start a `runner` or `toolsvc`; `record` gets the points that it passes.

        `constants` are to have other values there: times that no test can wait for.
        """
        assert self._process.stdin
        for fault in faults:
            assert {fault.point, *fault.armed_by} <= _known(), f"there is no such point: {fault}"
        self._count += 1
        log = self._folder / f"{program}-{self._count}.log"
        log.touch()
        wanted = {
            "id": self._count,
            "program": program,
            "env": dict(env),
            "faults": [asdict(fault) for fault in faults],
            "record": str(record) if record else None,
            "constants": dict(constants),
            "log": str(log),
        }
        starting: asyncio.Future[Forked] = asyncio.get_running_loop().create_future()
        self._starting[self._count] = starting
        self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
        return await starting

    async def read(self) -> None:
        """Hear of what begins and ends, until the nursery has ended."""
        assert self._process.stdout
        async for line in self._process.stdout:
            told = json.loads(line)
            if "id" in told:
                forked = Forked(told["pid"], self._folder / told["log"])
                self._running[forked.pid] = forked
                self._starting.pop(told["id"]).set_result(forked)
            else:
                self._running.pop(told["pid"]).status.set_result(told["status"])


@cache
def _known() -> frozenset[str]:
    return frozenset(points_of(MODULES))


@asynccontextmanager
async def nursery(folder: Path, model_url: str) -> AsyncIterator[Nursery]:
    """A nursery for the block; what it has started is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.process", model_url),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    made = Nursery(process, folder)
    reading = asyncio.create_task(made.read(), name="nursery")
    try:
        yield made
    finally:
        assert process.stdin
        process.stdin.close()
        with suppress(asyncio.CancelledError):
            await reading
        await process.wait()
