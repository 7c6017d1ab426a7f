"""Starting clients in their own process, and metering what they cost the servers."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from benchmarks.cpu import cpu_s
from benchmarks.load import Report
from benchmarks.targets import AGENT, HERE, Target
from stack.program import ROOT

#: A load that takes longer than this beyond its own time hangs.
PATIENCE_S = 30
#: A run that takes longer has got lost.
RUN_S = 30.0
#: Exports and looks that belong to the last runs happen a little later.
SETTLE_S = 0.3

_tags = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What clients do: `runs` each, or as many as `seconds` allow, with this text."""

    clients: int
    text: str = ""
    agent: str = AGENT
    runs: int = 0
    seconds: float = 1e9
    spread_s: float = 0.0  #: within which they begin
    threads: tuple[str, ...] = ()  #: to be subscribed to beforehand
    expect_s: float = 40.0  #: how long it should take at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """What a load did, and the CPU that the servers took for it, by process, baseline deducted."""

    report: Report
    cpu_s: dict[str, float]


class Clients:
    """A process with open sockets."""

    def __init__(self, process: asyncio.subprocess.Process, load: Load) -> None:
        self._process, self._load = process, load

    async def work(self) -> Report:
        """Let them work; returns when they are done.

        Raises:
            RuntimeError: a run failed, or the clients did.
        """
        assert self._process.stdin
        self._process.stdin.write(b"go\n")
        await self._process.stdin.drain()
        raw = await self._line(self._load.expect_s + PATIENCE_S)
        report = Report(**orjson.loads(raw))
        if report.failures:
            raise RuntimeError(
                f"{len(report.failures)} failures, first: {report.failures[0][:600]}"
            )
        return report

    async def ready(self) -> None:
        """Wait until all sockets are open."""
        if (line := await self._line(self._load.expect_s + PATIENCE_S)) != b"ready\n":
            raise RuntimeError(f"the clients did not get ready: {line!r}")

    async def _line(self, within_s: float) -> bytes:
        assert self._process.stdout
        async with asyncio.timeout(within_s):
            return await self._process.stdout.readline()


@asynccontextmanager
async def clients(target: Target, load: Load) -> AsyncIterator[Clients]:
    """Clients with open sockets for the block."""
    spec: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": target.port,
        "keys": target.keys,
        "door": target.door,
        "agent": load.agent,
        "tag": f"b{next(_tags)}",
        "clients": load.clients,
        "text": load.text,
        "runs": load.runs,
        "seconds": load.seconds,
        "spread_s": load.spread_s,
        "threads": load.threads,
        "run_s": RUN_S,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HERE / "load.py")),
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**26,
    )
    try:
        assert process.stdin
        process.stdin.write(orjson.dumps(spec) + b"\n")
        found = Clients(process, load)
        await found.ready()
        yield found
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def metered(target: Target, load: Load, *, baseline_s: float) -> Metered:
    """Run a load, and meter the servers while it lasts.

    Raises:
        RuntimeError: a run failed, or the clients did.
    """
    async with clients(target, load) as working:
        idle_per_s = await _baseline(target, baseline_s)
        before, begun = _sample(target), time.monotonic()
        report = await working.work()
        await asyncio.sleep(SETTLE_S)
        after, lasted_s = _sample(target), time.monotonic() - begun
    cpu = {
        name: after[name] - before[name] - idle_per_s[name] * lasted_s for name in target.processes
    }
    return Metered(report=report, cpu_s=cpu)


async def moments(model: int) -> dict[str, list[tuple[int, int]]]:
    """By run and call: when the model read it, and when its first byte left (monotonic ns)."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://127.0.0.1:{model}/_bench/moments")
        found: dict[str, list[tuple[int, int]]] = answer.json()
        return found


async def _baseline(target: Target, during_s: float) -> dict[str, float]:
    """CPU seconds a second that each process takes while its clients wait."""
    before, begun = _sample(target), time.monotonic()
    await asyncio.sleep(during_s)
    after, lasted_s = _sample(target), time.monotonic() - begun
    return {name: (after[name] - before[name]) / lasted_s for name in target.processes}


def _sample(target: Target) -> dict[str, float]:
    return {name: cpu_s(pid) for name, pid in target.processes.items()}
