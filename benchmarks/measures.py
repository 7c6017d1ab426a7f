"""The measurements of one server, Baton or floor, under the loads that all of them can carry."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.cpu import rss_kb
from benchmarks.load import Report
from benchmarks.loading import Load, Metered, clients, metered, moments
from benchmarks.targets import WITH_TOOL, Target

CLIENTS = 32
TOKENS_PER_S = 50
TOOL_TURNS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured; `--quick` measures less, and less exactly."""

    baseline_s: float = 2.0  #: of watching what the servers take while nobody asks
    warm_up_s: float = 1.0
    deltas: int = 200  #: of one paced answer
    rounds: int = 2  #: paced answers for each client
    alone: int = 40  #: runs of the one client
    with_tools: int = 10  #: runs of the one client, each in a thread of its own
    loop_s: float = 8.0
    sockets: int = 2000
    warm_sockets: int = 200
    idle_threads: int = 10_000
    commits: int = 1000  #: of one run
    replays: tuple[int, ...] = (20, 100, 300)  #: turns
    at_once: tuple[int, ...] = (1, 32, 256)  #: runs
    stream_deltas: int = 120  #: of one paced answer to a process of its own
    stream_turns: int = 60  #: with a tool, in such a process
    live: int = 100  #: runs of a runner that is killed


QUICK = Extent(
    deltas=100,
    rounds=1,
    alone=10,
    with_tools=5,
    loop_s=3.0,
    sockets=400,
    warm_sockets=50,
    idle_threads=1000,
    commits=100,
    replays=(20, 100),
    at_once=(1, 32),
    live=30,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """Milliseconds that a server adds to the first token, run by run.

    `after` the first byte of the last answer has left the model; `whole` is everything since the
    client sent its message, but the model's own time.
    """

    after: list[float]
    whole: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    """32 clients that read answers at 50 tokens/s."""

    us_per_delta: dict[str, float]  #: by process
    delays: Delays

    @property
    def us(self) -> float:
        """CPU of all processes for one delta."""
        return sum(self.us_per_delta.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Looped:
    """32 clients, each starting a five-delta run as soon as its last one has ended."""

    runs_per_s: float
    ms_per_run: dict[str, float]  #: by process

    @property
    def ms(self) -> float:
        """CPU of all processes for one run."""
        return sum(self.ms_per_run.values())


async def warm_up(target: Target, extent: Extent) -> None:
    """Connections, caches, and code that has never run."""
    load = Load(clients=CLIENTS, text="[[deltas=5]]", seconds=extent.warm_up_s)
    await metered(target, load, baseline_s=0)


async def paced(target: Target, model: int, extent: Extent) -> Paced:
    """Measure 32 clients at 50 tokens/s."""
    found, delays = await _timed(
        target,
        model,
        extent,
        Load(
            clients=CLIENTS,
            text=f"[[deltas={extent.deltas}]] [[tokens_per_s={TOKENS_PER_S}]]",
            runs=extent.rounds,
            spread_s=1.0,
        ),
    )
    deltas = found.report.runs * extent.deltas
    by_process = {name: cpu / deltas * 1e6 for name, cpu in found.cpu_s.items()}
    return Paced(us_per_delta=by_process, delays=delays)


async def alone(target: Target, model: int, extent: Extent) -> Delays:
    """Measure one client that asks again and again."""
    text = f"[[deltas=5]] [[tokens_per_s={TOKENS_PER_S}]]"
    _, delays = await _timed(target, model, extent, Load(clients=1, text=text, runs=extent.alone))
    return delays


async def tool_turns(target: Target, model: int, extent: Extent) -> Delays:
    """Measure one client whose runs call a tool in ten turns before their first token."""
    text = f"[[turns={TOOL_TURNS} echo]] [[deltas=1]]"
    load = Load(clients=1, text=text, agent=WITH_TOOL, runs=extent.with_tools)
    _, delays = await _timed(target, model, extent, load)
    return delays


async def looped(target: Target, extent: Extent, at_once: int = CLIENTS) -> Looped:
    """Measure five-delta runs in a closed loop, so many at once."""
    load = Load(clients=at_once, text="[[deltas=5]]", seconds=extent.loop_s)
    found = await metered(target, load, baseline_s=extent.baseline_s)
    report = found.report
    return Looped(
        runs_per_s=report.runs / report.seconds,
        ms_per_run={name: cpu / report.runs * 1e3 for name, cpu in found.cpu_s.items()},
    )


async def kb_per_socket(target: Target, extent: Extent) -> float:
    """RSS growth of the process with the sockets for each further one that says nothing."""
    pid = next(iter(target.processes.values()))
    half = Load(clients=extent.sockets // 2)
    async with clients(target, Load(clients=extent.warm_sockets)):
        before = rss_kb(pid)
        async with clients(target, half), clients(target, half):
            return (rss_kb(pid) - before) / (half.clients * 2)


def around(values: list[float], place: int) -> float:
    """The median of the ten values around the one at a place, counted from 1."""
    return p50(values[max(0, place - 5) : place + 5])


def p50(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)


def p95(values: list[float]) -> float:
    """What one in twenty exceeds."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


async def _timed(target: Target, model: int, extent: Extent, load: Load) -> tuple[Metered, Delays]:
    await moments(model)  # forget what was before
    found = await metered(target, load, baseline_s=extent.baseline_s)
    joined = list(_joined(found.report, await moments(model)))
    return found, Delays(
        after=[first - left for _, _, left, first in joined],
        whole=[first - sent - thought for sent, thought, _, first in joined],
    )


def _joined(
    report: Report, moments: dict[str, list[tuple[int, int]]]
) -> Iterator[tuple[float, float, float, float]]:
    """Of each run, in ms: sent by the client, how long the model took, answered by it, first token.

    What the model took is the sum of its calls, each until its first byte.
    """
    for run, calls in moments.items():
        if run in report.first:
            thought = sum(left - came for came, left in calls)
            yield report.sent[run] / 1e6, thought / 1e6, calls[-1][1] / 1e6, report.first[run] / 1e6
