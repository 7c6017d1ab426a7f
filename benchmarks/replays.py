"""What a replay costs: CPU of a runner's own loop, without any process around it.

`python -m benchmarks.replays 20 100` prints one line of JSON for each number of turns. It is a
process of its own, so that nothing but the replay is on its clock. Each turn is one model call and
one tool call with a result of 200 bytes.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
from agents import Agent, Model, ModelResponse, RunConfig, function_tool
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from runner.agent_loop import AgentLoop
from runner.carried import CarriedRun, StopKind
from runner.invocations import patch_runner
from runner.models.provider import journaled
from runner.outbox import Outbox
from shared.protocol.record import ClaimedRun, Commit, CommitAnswer, StepRecord
from stack.program import ROOT

ID = UUID(int=1)
#: CPU of the quickest of so many: what else the machine does only ever adds.
TRIES = 3


async def replay_times_ms(turns: int) -> dict[str, float]:
    """CPU of a replay of so many turns in another process: `whole`, and from a `snapshot`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.replays", str(turns)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    printed, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the replay of {turns} turns ended with status {process.returncode}")
    found: dict[str, float] = orjson.loads(printed.splitlines()[-1])
    return found


class _Calling(Model):
    """Calls a tool in so many turns, then ends."""

    def __init__(self, turns: int) -> None:
        self.turns, self.asked = turns, 0

    async def get_response(self, *_args: Any, **_kwargs: Any) -> ModelResponse:
        raise AssertionError("calls are streamed")

    async def stream_response(self, *_args: Any, **_kwargs: Any) -> AsyncIterator[Any]:
        number, self.asked = self.asked, self.asked + 1
        item = _call(number) if number < self.turns else _text()
        yield SimpleNamespace(type="response.output_item.done", output_index=0, item=item)
        response = Response.construct(id=f"r{number}", output=[item], usage=None)
        yield ResponseCompletedEvent.construct(type="response.completed", response=response)


def _call(number: int) -> ResponseFunctionToolCall:
    arguments = orjson.dumps({"number": number}).decode()
    return ResponseFunctionToolCall(
        type="function_call", id=f"f{number}", call_id=f"c{number}", name="add", arguments=arguments
    )


def _text() -> ResponseOutputMessage:
    part = ResponseOutputText(type="output_text", text="done", annotations=[])
    return ResponseOutputMessage(
        id="m", type="message", role="assistant", status="completed", content=[part]
    )


class _Toolsvc:
    """Keeps what a run commits."""

    def __init__(self) -> None:
        self.journal: list[StepRecord] = []
        self.snapshot: str | None = None

    async def commit(self, _run: Any, _token: Any, commit: Commit) -> CommitAnswer:
        """Keep it."""
        self.journal += commit.steps
        self.snapshot = commit.snapshot or self.snapshot
        return CommitAnswer()


async def _carry(kept: _Toolsvc, turns: int, *, snapshot: str | None) -> float:
    """Carry the run on from what is kept; the CPU in ms."""

    @function_tool
    def add(number: int) -> str:
        return str(number) * 200

    model = journaled(_Calling(turns), timeout_s=600)
    agent = Agent(name="A", model=model, tools=[add])
    run = _claimed(kept, snapshot)
    loop = AgentLoop(
        run, agent, max_turns=turns + 1, replays=asyncio.Semaphore(1), code="of the bench"
    )
    begun = time.process_time()
    stop = await loop.drive()
    took = (time.process_time() - begun) * 1e3
    if stop.kind is not StopKind.FINISHED:
        raise RuntimeError(f"the run ended {stop.kind}: {stop.error}")
    return took


def _claimed(kept: Any, snapshot: str | None) -> CarriedRun:
    claimed = ClaimedRun(
        run=ID,
        root=ID,
        thread=ID,
        user=ID,
        run_id="run_bench",
        thread_id="thr_bench",
        agent="A",
        fence=1,
        starts=[],
        sql_last=(0, 0),
        history=[],
        messages=[{"id": "m", "role": "user", "content": "go"}],
        input={},
        journal=list(kept.journal),
        snapshot=snapshot,
        token="",
        token_expires=0,
    )
    outbox = Outbox(
        thread=ID, run_id="run_bench", fence=1, starts=[], ttl_s=60, changed=lambda _: None
    )
    trace: Any = SimpleNamespace(take=list, cut_off=list, stored=lambda _: None, silent=False)
    config = RunConfig(tracing_disabled=True)
    return CarriedRun(claimed, record=kept, outbox=outbox, run_config=lambda _: config, trace=trace)


async def _measure(turns: int) -> dict[str, float]:
    kept = _Toolsvc()
    live = await _carry(kept, turns, snapshot=None)
    snapshot = kept.snapshot
    return {
        "live": live,
        "whole": min([await _carry(kept, turns, snapshot=None) for _ in range(TRIES)]),
        "snapshot": min([await _carry(kept, turns, snapshot=snapshot) for _ in range(TRIES)]),
    }


def main() -> None:
    """Print what each number of turns costs."""
    patch_runner()
    for turns in sys.argv[1:]:
        print(orjson.dumps(asyncio.run(_measure(int(turns)))).decode(), flush=True)


if __name__ == "__main__":
    main()
