"""What a model's stream costs a runner, in one process, beside the bare SDK: CPU and first delta.

`python -m benchmarks.lean PORT stock 120 60` (or `lean`) asks a timed model at that port for an
answer of so many deltas, and for so many turns with a tool, and prints one line of JSON. Each is a
process of its own, so that nothing else is on its clock; traces are off. For `lean` all of a runner
is there but its neighbours: events go as far as the pipeline to Redis.
"""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from shared.process import importing

with importing():  # as a runner does it
    import httpx
    import orjson
    import uvloop
    from agents import Agent, ModelSettings, RunConfig, Runner, function_tool
    from agents.models.openai_provider import OpenAIProvider

    from benchmarks.targets import MODEL_KEY
    from runner.agent_loop import AgentLoop
    from runner.carried import CarriedRun, StopKind
    from runner.invocations import patch_runner
    from runner.models.provider import UpstreamProvider
    from runner.outbox import Outbox
    from runner.publisher import Publisher
    from shared.protocol.record import ClaimedRun, Commit, CommitAnswer
    from shared.settings import RunnerSettings
    from shared.settings.models import ModelsConfig, Provider
    from stack.program import ROOT

CLIENTS, TOKENS_PER_S = 32, 50
#: What a run costs by itself is in an answer of so many fewer deltas, too.
FEWER = 6
MOST_TURNS = 1000
ALONE = 20
TRIES = 3
KEY_VARIABLE = "BENCH_MODEL_KEY"

#: One run: its text in, and when (in ns of the machine's clock) its first delta was published.
Ask = Callable[[str], Awaitable[int]]


@function_tool
def add(number: int) -> str:
    """Give a result of some length."""
    return str(number) * 200


AGENT = Agent(name="A", instructions="Answer.", model="demo", tools=[add])


async def lean_figures(model: int, deltas: int, turns: int) -> dict[str, dict[str, float]]:
    """`stock` and `lean`, each measured in a process of its own, one after the other."""
    found = {}
    for kind in ("stock", "lean"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.lean", str(model), kind, str(deltas), str(turns)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        printed, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"the {kind} measurement ended with status {process.returncode}")
        found[kind] = orjson.loads(printed.splitlines()[-1])
    return found


@asynccontextmanager
async def _stock(model: int) -> AsyncIterator[Ask]:
    """The SDK, as its documentation shows it."""
    provider = OpenAIProvider(
        api_key=MODEL_KEY, base_url=f"http://127.0.0.1:{model}/v1", use_responses=True
    )
    config = RunConfig(
        model_provider=provider,
        tracing_disabled=True,
        model_settings=ModelSettings(include_usage=True),
    )

    async def ask(text: str) -> int:
        first = 0
        result = Runner.run_streamed(AGENT, text, max_turns=MOST_TURNS, run_config=config)
        async for event in result.stream_events():
            if (
                event.type == "raw_response_event"
                and event.data.type == "response.output_text.delta"
            ):
                orjson.dumps({"type": "delta", "text": event.data.delta})
                first = first or time.monotonic_ns()
        return first

    yield ask
    await provider.aclose()


class _Redis:
    """In the place of Redis: takes every append, and notes when a run's first delta came."""

    def __init__(self) -> None:
        self.first: dict[str, int] = {}
        self._answers: list[Any] = []

    def pipeline(self, *, transaction: bool) -> "_Redis":  # noqa: ARG002 - as Redis' own
        return self

    def evalsha(self, *arguments: Any) -> None:
        """See shared.bus.append."""
        entries = arguments[8:]
        self._answers.append([b"OK", entries[-4].partition("-")[2].encode()])
        if "TEXT_MESSAGE_CHUNK" in entries:
            self.first.setdefault(entries[2], time.monotonic_ns())

    async def execute(self, *, raise_on_error: bool) -> list[Any]:  # noqa: ARG002
        answers, self._answers = self._answers, []
        return answers


class _Toolsvc:
    async def commit(self, _run: Any, _token: Any, _commit: Commit) -> CommitAnswer:
        return CommitAnswer()


@asynccontextmanager
async def _lean(model: int) -> AsyncIterator[Ask]:
    """A runner's own way."""
    patch_runner()
    settings = RunnerSettings(
        REDIS_URL="redis://none", BATON_RUNNER_KEY="k" * 32, OPENAI_API_KEY=MODEL_KEY
    )
    server = Provider(base_url=f"http://127.0.0.1:{model}/v1", key_env=KEY_VARIABLE)
    provider = UpstreamProvider(settings, ModelsConfig(providers={"bench": server}))
    redis: Any = _Redis()
    toolsvc: Any = _Toolsvc()

    async def confirm(*_: Any) -> None:
        raise AssertionError("nothing is lost here")

    publisher = Publisher(redis, confirm)
    pump = asyncio.create_task(publisher.run(), name="publisher")
    config = RunConfig(
        model_provider=provider,
        tracing_disabled=True,
        model_settings=ModelSettings(include_usage=True),
    )

    async def ask(text: str) -> int:
        claimed = _claimed(text)
        outbox = Outbox(
            thread=claimed.thread,
            run_id=claimed.run_id,
            fence=1,
            starts=[],
            ttl_s=60,
            changed=publisher.changed,
        )
        trace: Any = SimpleNamespace(take=list, cut_off=list, stored=lambda _: None, silent=False)
        run = CarriedRun(
            claimed, record=toolsvc, outbox=outbox, run_config=lambda _: config, trace=trace
        )
        loop = AgentLoop(
            run, AGENT, max_turns=MOST_TURNS, replays=asyncio.Semaphore(1), code="of the bench"
        )
        stop = await loop.drive()
        await publisher.drained(outbox, within_s=10)
        if stop.kind is not StopKind.FINISHED:
            raise RuntimeError(f"the run ended {stop.kind}: {stop.error}")
        return int(redis.first.pop(claimed.run_id, 0))

    yield ask
    pump.cancel()
    with suppress(asyncio.CancelledError):
        await pump
    await provider.aclose()


def _claimed(text: str) -> ClaimedRun:
    run = uuid4()
    return ClaimedRun(
        run=run,
        root=run,
        thread=uuid4(),
        user=UUID(int=1),
        run_id=f"run_{run.hex}",
        thread_id="thr_bench",
        agent="A",
        fence=1,
        starts=[],
        sql_last=(0, 0),
        history=[],
        messages=[{"id": "m", "role": "user", "content": text}],
        input={},
        token="",
        token_expires=0,
    )


async def _cpu_ms(ask: Ask, texts: list[str]) -> float:
    begun = time.process_time()
    await asyncio.gather(*(ask(text) for text in texts))
    return (time.process_time() - begun) * 1e3


async def _measure(model: int, kind: str, deltas: int, turns: int) -> dict[str, float]:
    async with {"stock": _stock, "lean": _lean}[kind](model) as ask:
        begun = time.perf_counter()
        await ask("[[deltas=1]]")
        cold_ms = (time.perf_counter() - begun) * 1e3
        pace, few = f"[[tokens_per_s={TOKENS_PER_S}]]", deltas // FEWER
        await _cpu_ms(ask, [f"{pace} [[deltas={few}]]"] * CLIENTS)  # opens the connections
        less, all_ = [
            await _cpu_ms(ask, [f"{pace} [[deltas={count}]]"] * CLIENTS) for count in (few, deltas)
        ]
        of_turns = [
            await _cpu_ms(ask, [f'[[turns={turns} add {{"number": 1}}]]']) for _ in range(TRIES)
        ]
        return {
            "us_per_delta": (all_ - less) * 1e3 / (CLIENTS * (deltas - few)),
            "ms_of_turns": min(of_turns),
            "first_ms": await _first_ms(model, ask),
            "cold_ms": cold_ms,
        }


async def _first_ms(model: int, ask: Ask) -> float:
    """From the first byte that leaves the model to the first delta that leaves us, p50."""
    names = [f"l{number}" for number in range(ALONE)]
    seen = {name: await ask(f"bench-{name} [[deltas=1]]") for name in names}
    async with httpx.AsyncClient(trust_env=False) as http:
        left = (await http.get(f"http://127.0.0.1:{model}/_bench/moments")).json()
    return float(statistics.median((seen[name] - left[name][-1][1]) / 1e6 for name in names))


def main() -> None:
    """Print what is found."""
    os.environ[KEY_VARIABLE] = MODEL_KEY
    port, kind, deltas, turns = sys.argv[1:]
    found = uvloop.run(_measure(int(port), kind, int(deltas), int(turns)))
    print(orjson.dumps(found).decode(), flush=True)


if __name__ == "__main__":
    main()
