"""`python3 dev.py bench`: what Baton costs, beside two floors, in one run on one machine.

docs/performance.md says what each row means and how to read it.
"""

import argparse
import asyncio
import resource
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
from rich.console import Console

from benchmarks import measures, takeover, v1
from benchmarks.idle_threads import make_threads
from benchmarks.lean import lean_figures
from benchmarks.loading import Load, clients
from benchmarks.measures import QUICK, Delays, Extent, Looped, Paced, p50, p95
from benchmarks.replays import replay_times_ms
from benchmarks.steps import commit_times_ms
from benchmarks.table import Result, Row, parts
from benchmarks.targets import PEOPLE, Target, bare_pipe, bare_sdk, baton, timed_model
from runner.snapshots import EVERY_TURNS
from stack.running import Stack

COMPARED = ("delta", "first-token", "runs", "turns")
OF_ONE_RUNNER = (*COMPARED, "v1", "sockets", "threads", "commit", "growth")
NAMES = (*OF_ONE_RUNNER, "lean", "replay", "takeover", "suspects")
#: Where in a run a commit is looked at: it must not cost more the longer the run has gone on.
COMMITS = (10, 100, 1000)
#: Turns of a replay → the most it may cost, in ms of CPU.
REPLAY_GOALS = {20: 60, 100: 120, 300: 300}
#: A lease, and what it takes to notice that it has ended, to claim, and to replay.
TAKE_OVER_GOAL_S = 5
#: Sockets that the idle threads are dealt out to; a multiple of the people who own them.
IDLE_SOCKETS = 3 * PEOPLE
FEW_IDLE_THREADS = 10
#: Subscribing costs a few milliseconds each.
SUBSCRIBING_S = 300.0

console = Console(width=max(130, Console().width))


class Bench:
    """One run of the bench: `only` are the names of what to measure."""

    def __init__(self, extent: Extent, only: Sequence[str]) -> None:
        self.extent, self.only = extent, only
        self.result = Result()
        self.paced: dict[str, Paced] = {}
        self.alone: dict[str, Delays] = {}
        self.looped: dict[str, Looped] = {}
        self.turns: dict[str, Delays] = {}
        self.v1: dict[str, v1.Answers] = {}

    async def run(self) -> Result:
        """Measure the floors, then Baton; the table's rows are those of Baton's order."""
        if self._wants(*OF_ONE_RUNNER):
            await self._of_one_runner()
        if self._wants("lean"):
            await self._lean()
        if self._wants("replay"):
            await self._replays()
        if self._wants("takeover", "suspects"):
            await self._deaths()
        return self.result

    async def _of_one_runner(self) -> None:
        async with AsyncExitStack() as lifetime:
            say("starting Baton")
            model = await lifetime.enter_async_context(timed_model())
            target, stack = await lifetime.enter_async_context(baton(model))
            if self._wants("sockets"):
                await self._sockets(target)
            async with bare_sdk(model) as floor:
                await self._compared(floor, model)
                await self._v1(floor, model)
            async with bare_pipe(model, stack) as floor:
                await self._compared(floor, model)
            await self._compared(target, model)
            await self._v1(target, model)
            self._compare()
            if self._wants("commit"):
                await self._commit(target, stack)
            if self._wants("growth"):
                await self._growth(target)
            if self._wants("threads"):
                await self._threads(target, stack, model)

    def _wants(self, *names: str) -> bool:
        return any(name in self.only for name in names)

    # ------------------------------------------------------------------ beside the floors
    async def _compared(self, target: Target, model: int) -> None:
        if not self._wants(*COMPARED):
            return
        say(f"{target.name}: warming up")
        await measures.warm_up(target, self.extent)
        if self._wants("delta", "first-token"):
            say(f"{target.name}: {measures.CLIENTS} clients at {measures.TOKENS_PER_S} tokens/s")
            self.paced[target.name] = await measures.paced(target, model, self.extent)
        if self._wants("first-token"):
            say(f"{target.name}: one client")
            self.alone[target.name] = await measures.alone(target, model, self.extent)
        if self._wants("runs"):
            say(f"{target.name}: five-delta runs")
            self.looped[target.name] = await measures.looped(target, self.extent)
        if self._wants("turns") and target.name != "bare pipe":
            say(f"{target.name}: {measures.TOOL_TURNS} turns with a tool")
            self.turns[target.name] = await measures.tool_turns(target, model, self.extent)

    async def _v1(self, target: Target, model: int) -> None:
        if self._wants("v1"):
            say(f"{target.name}: chat completions")
            self.v1[target.name] = await v1.Answers.of(target, model, self.extent)

    def _compare(self) -> None:
        if self._wants("delta"):
            self._add(
                Row(name="CPU per delta", unit="µs", goal=200, below_floors=True),
                {name: one.us for name, one in self.paced.items()},
                note=parts(self.paced["Baton"].us_per_delta, lambda us: f"{us:.0f}"),
            )
        if self._wants("first-token"):
            at_32 = {name: one.delays for name, one in self.paced.items()}
            self._first_token("first token, alone", self.alone, goal=5)
            self._first_token(f"first token, {measures.CLIENTS} clients", at_32, goal=8)
            whole = {name: p50(one.whole) for name, one in self.alone.items()}
            self._add(Row(name="message to first token, alone, p50", unit="ms"), whole)
        if self._wants("runs"):
            per_s = {name: one.runs_per_s for name, one in self.looped.items()}
            self._add(Row(name="five-delta runs", unit="runs/s", goal=150, most=False), per_s)
            self._add(
                Row(name="CPU per five-delta run", unit="ms", goal=8),
                {name: one.ms for name, one in self.looped.items()},
                note=parts(self.looped["Baton"].ms_per_run, lambda ms: f"{ms:.2f}"),
            )

        if self._wants("turns"):
            turns = {name: p50(one.whole) for name, one in self.turns.items()}
            name = f"{measures.TOOL_TURNS} tool turns without the model's time, p50"
            self._add(Row(name=name, unit="ms", goal=140), turns)
        if self._wants("v1"):
            self.result.rows += v1.rows(self.v1["Baton"], self.v1["bare SDK"])

    def _first_token(self, name: str, delays: dict[str, Delays], *, goal: float) -> None:
        for title, of in (("p50", p50), ("p95", p95)):
            row = Row(name=f"{name}, {title}", unit="ms", goal=goal if of is p50 else None)
            self._add(row, {target: of(one.after) for target, one in delays.items()})

    def _add(self, row: Row, values: dict[str, float], note: str = "") -> None:
        row.baton = values["Baton"]
        row.bare_sdk, row.bare_pipe = values["bare SDK"], values.get("bare pipe")
        row.note = note
        self.result.rows.append(row)

    # ------------------------------------------------------------------ Baton alone
    async def _sockets(self, target: Target) -> None:
        say(f"{self.extent.sockets:,} idle sockets")
        found = await measures.kb_per_socket(target, self.extent)
        self.result.rows.append(
            Row(name="memory of an idle socket", unit="KB", baton=found, goal=17)
        )

    async def _commit(self, target: Target, stack: Stack) -> None:
        say("commits of steps")
        times = await commit_times_ms(target, stack, self.extent.commits)
        for title, of in (("p50", p50), ("p95", p95)):
            row = Row(name=f"commit of a step, {title}", unit="ms", baton=of(times))
            self.result.rows.append(row)
        for place in (one for one in COMMITS if one <= len(times)):
            row = Row(name=f"commit of step {place:,} of a run", unit="ms")
            row.baton = measures.around(times, place)
            self.result.rows.append(row)

    async def _growth(self, target: Target) -> None:
        for count in self.extent.at_once:
            say(f"five-delta runs, {count} at once")
            found = await measures.looped(target, self.extent, count)
            row = Row(name=f"CPU per five-delta run, {count} at once", unit="ms", baton=found.ms)
            self.result.rows.append(row)

    async def _lean(self) -> None:
        say("a model's stream in one process, stock and lean")
        turns = self.extent.stream_turns
        async with timed_model() as model:
            found = await lean_figures(model, self.extent.stream_deltas, turns)
        for name, unit, figure, goal in (
            ("CPU per delta, socket to publish", "µs", "us_per_delta", 45),
            (f"CPU of {turns} tool turns", "ms", "ms_of_turns", found["stock"]["ms_of_turns"] / 5),
            ("first delta behind the model's, p50", "ms", "first_ms", 3),
            ("a process's first run", "ms", "cold_ms", None),
        ):
            row = Row(name=f"{name}, one process", unit=unit, goal=goal)
            row.baton, row.bare_sdk = found["lean"][figure], found["stock"][figure]
            self.result.rows.append(row)

    async def _replays(self) -> None:
        for turns in self.extent.replays:
            for more in (0, EVERY_TURNS - 1):
                say(f"replay of {turns + more} turns")
                found = await replay_times_ms(turns + more)
                row = Row(name=f"CPU of a replay of {turns + more} turns", unit="ms")
                row.baton, row.goal = found["snapshot"], REPLAY_GOALS.get(turns + more)
                row.note = f"{found['whole']:.0f} without a snapshot, {found['live']:.0f} live"
                self.result.rows.append(row)

    async def _threads(self, target: Target, stack: Stack, model: int) -> None:
        for count in (FEW_IDLE_THREADS, self.extent.idle_threads):
            say(f"{count:,} idle threads, subscribed")
            prefix = f"idle{count}-"
            await make_threads(stack, prefix, count)
            load = Load(
                clients=IDLE_SOCKETS,
                threads=tuple(f"{prefix}{number}" for number in range(count)),
                expect_s=SUBSCRIBING_S,
            )
            async with clients(target, load):
                await measures.warm_up(target, self.extent)
                paced = await measures.paced(target, model, self.extent)
                looped = await measures.looped(target, self.extent)
            beside = f"beside {count:,} idle threads"
            self.result.rows += [
                Row(name=f"CPU per delta {beside}", unit="µs", baton=paced.us),
                Row(name=f"five-delta runs {beside}", unit="runs/s", baton=looped.runs_per_s),
            ]

    # ------------------------------------------------------------------ with runners that die
    async def _deaths(self) -> None:
        say(f"starting Baton with {takeover.RUNNERS} runners")
        async with (
            timed_model() as model,
            baton(model, runners=takeover.RUNNERS, settings=takeover.ENVIRONMENT) as (
                target,
                stack,
            ),
        ):
            if self._wants("suspects"):  # first, for the other one leaves a runner dead
                await self._suspects(target, stack)
            if self._wants("takeover"):
                await self._take_over(target, stack)

    async def _suspects(self, target: Target, stack: Stack) -> None:
        live = self.extent.live
        say(f"{live} live runs, whose runners are killed twice")
        found = await takeover.isolate(target, stack, live)
        row = Row(name=f"{live} runs made suspect by two kills → all ended", unit="s")
        row.baton, row.note = found.seconds, f"each of them answers for {found.alone_s:.0f} s"
        self.result.rows.append(row)

    async def _take_over(self, target: Target, stack: Stack) -> None:
        live = self.extent.live
        say(f"{live} live runs on a runner that is killed")
        found = await takeover.take_over(target, stack, live)
        times, name = found.times_s, f"kill of a runner with {live} live runs → next event"
        for title, value in (("p50", p50(times)), ("p95", p95(times)), ("max", max(times))):
            row = Row(name=f"{name}, {title}", unit="s", baton=value)
            row.goal = TAKE_OVER_GOAL_S if title == "p95" else None
            self.result.rows.append(row)
        shares = " and ".join(str(share) for share in found.shares)
        self.result.rows[-1].note = f"the other runners took {shares} of them"


def say(what: str) -> None:
    """What goes on, for whoever waits."""
    console.print(f"{what} …", style="dim", highlight=False)


def main() -> None:
    """Measure, print, and write JSON where that is asked for."""
    options = _options()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    bench = Bench(QUICK if options.quick else Extent(), options.only or NAMES)
    try:
        result = asyncio.run(bench.run())
    except KeyboardInterrupt:
        raise SystemExit("stopped before the table was complete") from None
    result.show(console)
    if options.json:
        options.json.write_bytes(orjson.dumps(result.as_json(), option=orjson.OPT_INDENT_2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less, and less exactly")
    parser.add_argument("--only", action="append", choices=NAMES, help="may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table as JSON too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
