"""The time of a step's commit, as a runner sees it: the bench claims a run and carries it."""

import asyncio
import time
from uuid import uuid4

import orjson

from benchmarks.dialects import BatonDialect
from benchmarks.raw_socket import connect
from benchmarks.targets import Target
from runner.record import Record, RunToken
from shared.protocol.record import (
    Catalogue,
    ClaimedRun,
    ClaimRequest,
    Commit,
    End,
    Outcome,
    Row,
    SpanRecord,
    StepRecord,
)
from stack.running import Stack

#: No other runner serves it, so the run waits for us.
AGENT = "Steps"
CLAIM_S = 10


async def commit_times_ms(target: Target, stack: Stack, count: int) -> list[float]:
    """Milliseconds of `count` commits, one after the other, each of a model response's size."""
    record = Record(stack.toolsvc_urls, stack.secrets.runner_key, secret="of the bench")
    try:
        runner = f"bench-{uuid4().hex[:8]}"
        await record.announce(runner, Catalogue(agents={AGENT: {"name": AGENT, "title": AGENT}}))
        await _ask(target)
        claimed = await _claim(record, runner)
        times = [await _timed(record, claimed, number) for number in range(1, count + 1)]
        end = End(outcome=Outcome.FINISHED)
        last = Commit(fence=claimed.fence, n=count + 1, end=end)
        await record.commit(claimed.run, _token(claimed), last)
        return times
    finally:
        await record.close()


async def _ask(target: Target) -> None:
    """Start a run that only we can claim."""
    dialect = BatonDialect(target.keys[0], AGENT)
    accepted = asyncio.Event()
    socket = await connect(
        "127.0.0.1",
        target.port,
        dialect.path,
        dialect.subprotocols,
        lambda frame: accepted.set() if b'"op":"ack"' in frame else None,
    )
    name = f"steps-{uuid4().hex[:8]}"
    socket.send(dialect.run(run=name, thread=name, text="bench"))
    async with asyncio.timeout(CLAIM_S):
        await accepted.wait()
    socket.close()


async def _claim(record: Record, runner: str) -> ClaimedRun:
    async with asyncio.timeout(CLAIM_S):
        while True:
            answer = await record.claim(ClaimRequest(runner=runner, slots=1))
            if answer.claimed:
                return answer.claimed
            await asyncio.sleep(0.05)


async def _timed(record: Record, claimed: ClaimedRun, number: int) -> float:
    """One commit: a response of 200 words, its events, two spans."""
    text = "word " * 200
    chunk = {"type": "TEXT_MESSAGE_CHUNK", "messageId": f"msg_{number}", "delta": text}
    first = 2 + 3 * (number - 1)
    commit = Commit(
        fence=claimed.fence,
        n=number,
        rows=[
            Row(first, first, "STEP_STARTED", '{"type":"STEP_STARTED","stepName":"Steps"}'),
            Row(first + 1, first + 1, "TEXT_MESSAGE_CHUNK", orjson.dumps(chunk).decode()),
            Row(first + 2, first + 2, "STEP_FINISHED", '{"type":"STEP_FINISHED"}'),
        ],
        steps=[
            StepRecord(
                scope="run:Steps",
                kind="model",
                place=str(number),
                digest="0" * 64,
                record=orjson.dumps({"response": {"output": [text]}, "shown": []}).decode(),
            )
        ],
        spans=[_span(), _span()],
    )
    begun = time.perf_counter()
    await record.commit(claimed.run, _token(claimed), commit)
    return (time.perf_counter() - begun) * 1e3


def _token(claimed: ClaimedRun) -> RunToken:
    return RunToken(claimed.token, claimed.token_expires)


def _span() -> SpanRecord:
    at = "2026-01-01T00:00:00+00:00"
    return SpanRecord(
        id=f"span_{uuid4().hex}", started=at, ended=at, data={"type": "generation", "model": "demo"}
    )
