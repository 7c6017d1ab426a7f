"""The same clients and the same judge, before workers as everybody writes them first.

This drill is lost on purpose: it shows that the judge finds doubled beginnings, doubled text and
repeated effects where they are. Only workers are killed, and nothing else fails.
"""

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from drill.client import Client
from drill.evidence import EventRow, Evidence, ModelLog, RunRow, ThreadRow, read_ledger
from drill.judge import judge_answers, judge_brackets, judge_calls, judge_effects, judge_ends
from drill.judge_streams import is_end
from drill.naive import make_group
from drill.naive_gateway import NaiveGateway, events_after
from drill.network import network
from drill.plan import CALM, DrillPlan, FaultKind, make_plan
from drill.progress import Progress
from drill.records import Hit, Log, Watched
from drill.scratch import folder_for_drill, interruptible
from drill.talk import Kind
from drill.verdict import Violation
from shared.chain import sealed
from shared.protocol.position import START, parse_position
from stack.child import Child
from stack.credentials import Credentials
from stack.program import ROOT, Program, Tier
from stack.resp import RespConnection
from stack.running import Plan, Size, Stack
from stack.services import SURROUNDINGS

WORKERS = 3
#: 36 in 200 runs.
KILLS_A_RUN = 0.18
KINDS = (Kind.PLAIN, Kind.LONG, Kind.LEDGER)
TOKENS_PER_S = 60.0
PATIENCE_S = 120.0


async def run_naive(
    *, seed: int, minutes: float, runs: int, log: Log, progress: Progress
) -> tuple[list[Violation], int]:
    """What the judge finds, and how many workers were killed.

    Raises:
        StackError: Valkey or the demo model cannot be started.
    """
    plan = _one_by_one(make_plan(seed=seed, minutes=minutes, runs=runs, kinds=KINDS))
    enough = asyncio.Event()
    progress.phase("starting naive workers")
    with interruptible(enough), folder_for_drill() as folder:
        async with _stores(folder, log) as stack:
            redis_url = stack.redis_url("admin")
            make_group(redis_url)
            ledger = folder / "tools" / "ledger.ndjson"
            async with (
                _workers(redis_url, stack.demo_url or "", ledger, log) as workers,
                NaiveGateway(redis_url).serving() as port,
                network([port], len(plan.conversations)) as net,
            ):
                began = time.time()
                clients = [
                    Client(
                        record=Watched(client=number, thread=f"thr_c{number}", asks=asks),
                        link=net.links[number],
                        key="naive",
                        gateways=(),
                        dice=random.Random(f"client {number} {seed}"),  # noqa: S311
                        began=began,
                        log=log,
                    )
                    for number, asks in enumerate(plan.conversations)
                ]
                progress.begin(plan, clients, began)
                kills = await _converse(plan, clients, workers, enough, progress, log)
                model = ModelLog(stack.demo_url or "")
                await model.read()
                watched = [client.record for client in clients]
                evidence = _evidence(redis_url, watched)
                evidence.calls, evidence.ledger = model.calls, read_ledger(ledger)
                return _judge(watched, evidence, cut_short=enough.is_set()), kills


def _one_by_one(plan: DrillPlan) -> DrillPlan:
    """Without queued messages: such workers know no order within a thread."""
    conversations = tuple(
        tuple(replace(ask, queued=False) for ask in asks) for asks in plan.conversations
    )
    return replace(plan, conversations=conversations, faults=())


def _judge(watched: list[Watched], evidence: Evidence, *, cut_short: bool) -> list[Violation]:
    found: list[Violation] = []
    asks = {ask.run: ask for one in watched for ask in one.asks}
    for one in watched:
        thread = evidence.threads[one.thread]
        found += judge_ends(one, evidence.runs, thread, cut_short=cut_short)
        found += judge_answers(one, evidence.runs)
        found += judge_brackets(thread, set(evidence.runs))
    # Nobody has a claim on anything there, so no repeat is explained.
    found += judge_calls(evidence.calls, asks, {})
    found += judge_effects(evidence.ledger, asks, evidence.runs)
    return found


async def _converse(
    plan: DrillPlan,
    clients: list[Client],
    workers: list[Child],
    enough: asyncio.Event,
    progress: Progress,
    log: Log,
) -> int:
    over = asyncio.Event()
    hits: list[Hit] = []

    async def kill() -> None:
        dice = random.Random(f"naive {plan.seed}")  # noqa: S311
        kills = round(plan.runs * KILLS_A_RUN)
        for _ in range(kills):
            await asyncio.sleep(plan.seconds * (1 - CALM) / kills)
            worker = dice.choice(workers)
            name = worker.program.name
            hits.append(Hit(at=time.time(), kind=FaultKind.KILL_RUNNER, target=name))
            worker.kill()
            log.add("fault", fault=hits[-1])
            progress.hit(hits[-1])

    talked = asyncio.gather(*(client.converse(over) for client in clients))
    ended_early = asyncio.create_task(enough.wait(), name="Ctrl-C")
    helping = [
        asyncio.create_task(kill(), name="kill workers"),
        asyncio.create_task(progress.show(), name="progress"),
    ]
    everything: list[asyncio.Future[Any]] = [talked, ended_early, *helping]
    try:
        await asyncio.wait(
            everything[:2],
            timeout=plan.seconds + PATIENCE_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        over.set()
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)
    return len(hits)


def _evidence(redis_url: str, watched: list[Watched]) -> Evidence:
    """What the streams hold, in the place of SQL."""
    evidence = Evidence()
    with RespConnection(redis_url) as redis:
        for one in watched:
            rows, run, text = [], "", ""
            for id_, event in events_after(redis, one.thread, "0-0"):
                at = parse_position(id_) or START
                of = event.get("runId", run)
                text = text + event.get("delta", "") if of == run else ""
                run = of
                row = sealed(at.fence, at.seq, at.seq, event["type"], "")
                rows.append(EventRow(run=run, row=row, hash=None))
                if is_end(event["type"]):
                    evidence.runs[run] = RunRow(
                        run=run, thread=one.thread, status="finished", error_code=None, answer=text
                    )
            evidence.threads[one.thread] = ThreadRow(
                thread=one.thread, settled=0, chain=None, rows=tuple(rows)
            )
    return evidence


@asynccontextmanager
async def _stores(folder: Path, log: Log) -> AsyncIterator[Stack]:
    plan = Plan(
        folder=folder / "home",
        credentials=Credentials.generate(),
        environ={name: os.environ[name] for name in SURROUNDINGS if name in os.environ},
        size=Size(gateways=0, runners=0, toolsvc=0),
        demo=True,
        demo_tokens_per_s=TOKENS_PER_S,
    )

    def show(name: str, line: str) -> None:
        log.add("line", process=name, line=line)

    stack = Stack(plan, show=show, news=show)
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


@asynccontextmanager
async def _workers(
    redis_url: str, model_url: str, ledger: Path, log: Log
) -> AsyncIterator[list[Child]]:
    def show(name: str, line: str) -> None:
        log.add("line", process=name, line=line)

    workers = [
        Child(
            Program(
                name=f"naive-{number}",
                tier=Tier.RUNNER,
                argv=(sys.executable, "-m", "drill.naive", redis_url, model_url, str(ledger)),
                env={},
                cwd=ROOT,
                ready=lambda: True,
                patience_s=1,
            ),
            show=show,
            news=show,
        )
        for number in range(1, WORKERS + 1)
    ]
    try:
        for worker in workers:
            worker.start()
        yield workers
    finally:
        await asyncio.gather(*(worker.stop() for worker in workers))
