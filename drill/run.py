"""A drill from beginning to end: stack, clients, faults, evidence, verdict, report."""

import asyncio
import os
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg

from drill.client import Client
from drill.evidence import Evidence, ModelLog, RunRow, read_ledger, read_sql
from drill.faults import Faults
from drill.judge import claims, judge
from drill.judge_streams import lost_together
from drill.measures import measure
from drill.network import Network, network
from drill.plan import FROZEN_S, GATEWAYS, RUNNERS, TOOLSVC, DrillPlan
from drill.poison import HOW, read_killed, watch_killed
from drill.progress import Progress
from drill.records import Hit, Log, Watched
from drill.report import Result
from drill.scratch import SCENE, folder_for_drill, interruptible
from drill.verdict import Violation, Wrong
from stack.credentials import Credentials
from stack.errors import StackError
from stack.running import Plan, Size, Stack
from stack.services import SURROUNDINGS

#: Answers take a second or two, so that faults meet runs under way.
TOKENS_PER_S = 60.0
#: A tool's claim lives for this and ten seconds more; longer, and an unknown outcome takes long.
#: Shorter, and a tool that meets frozen stores has used up its time.
TOOL_TIMEOUT_S = round(FROZEN_S) + 2

#: The file in the drill's folder where poisonous runs write whom they end.
KILLED = "killed.ndjson"

#: After the last fault every run must have ended in this time.
PATIENCE_S = 90.0
#: What Ctrl-C leaves for runs under way.
GRACE_S = 8.0
#: The model's log keeps the newest 2,000 requests.
READ_LOG_EVERY_S = 10.0
#: The exporter of traces sends every five seconds.
EXPORT_S = 6.0
READ_SQL_TRIES = 20
#: Of what was printed last, for whoever sees the drill fail to start.
LAST_LINES = 8


@dataclass(slots=True, kw_only=True)
class Drill:
    """One drill, under way."""

    plan: DrillPlan
    minutes: float
    log: Log
    progress: Progress
    enough: asyncio.Event = field(default_factory=asyncio.Event)  #: Ctrl-C
    own_deaths: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    printed: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    async def carry_out(self) -> Result:
        """Do all of it.

        Raises:
            StackError: the stack cannot be started.
        """
        self.progress.phase("starting a stack")
        with interruptible(self.enough), folder_for_drill() as folder:
            async with (
                self._stack(folder) as stack,
                network(
                    [urlsplit(url).port or 0 for url in stack.gateway_urls],
                    len(self.plan.conversations),
                ) as net,
            ):
                return await self._drill(stack, net, folder)

    async def _drill(self, stack: Stack, net: Network, folder: Path) -> Result:
        model = ModelLog(stack.demo_url or "")
        clients = await self._clients(stack, net)
        faults = Faults(stack, net, self.log, self._said)
        began = time.time()
        for client in clients:
            client.began = began
        self.progress.begin(self.plan, clients, began)
        self.log.add("begins", seed=self.plan.seed, minutes=self.minutes, runs=self.plan.runs)
        killed = folder / KILLED
        await self._converse(stack, clients, faults, model, began, killed)
        self.progress.phase("reading the evidence")
        cut_short = not all(client.done for client in clients) and self.enough.is_set()
        evidence = await self._evidence(stack, model, folder)
        watched = [client.record for client in clients]
        self.progress.phase("judging")
        violations = judge(watched, evidence, faults.hits, cut_short=cut_short)
        violations += [
            Violation(kind=Wrong.STACK, where="stack", what=what) for what in self.given_up
        ]
        for violation in violations:
            self.log.add("violation", violation=violation)
        return Result(
            plan=self.plan,
            minutes=self.minutes,
            began=began,
            took_s=time.time() - began,
            cut_short=cut_short,
            watched=watched,
            statuses=Counter(_outcome(row) for row in evidence.runs.values()),
            claims=Counter(claims(evidence.threads.values()).values()),
            calls=len(evidence.calls),
            effects=len(evidence.ledger),
            lost_together=sum(
                lost_together(one, evidence.threads.get(one.thread), faults.hits) for one in watched
            ),
            hits=faults.hits,
            own_deaths=self.own_deaths,
            violations=violations,
            measures=measure(watched, evidence.threads, faults.hits, net),
        )

    async def _converse(
        self,
        stack: Stack,
        clients: list[Client],
        faults: Faults,
        model: ModelLog,
        began: float,
        killed: Path,
    ) -> None:
        """Clients and faults, until all runs have ended, or nobody wants to wait any longer."""
        over = asyncio.Event()
        talking = [
            asyncio.create_task(client.converse(over), name=f"client {client.record.client}")
            for client in clients
        ]
        breaking = asyncio.create_task(faults.carry_out(self.plan.faults, began), name="faults")
        helping = [
            asyncio.create_task(_read_from_time_to_time(model), name="read the model's log"),
            asyncio.create_task(watch_killed(killed, faults.killed), name="watch for deaths"),
            asyncio.create_task(self._watch(stack), name="watch the stack"),
            asyncio.create_task(self.progress.show(), name="progress"),
        ]
        enough = asyncio.create_task(self.enough.wait(), name="Ctrl-C")
        talked = asyncio.gather(*talking)
        try:
            time_s = self.plan.seconds + PATIENCE_S
            await _first_of([talked, enough], time_s)
            if self.enough.is_set():
                breaking.cancel()
                self.progress.phase("ending early")
                await _first_of([talked], GRACE_S)
            else:
                await _first_of([breaking, enough], PATIENCE_S)
        finally:
            over.set()
            for task in (breaking, enough, *helping):
                task.cancel()
            await _first_of([talked], 15)
            talked.cancel()
            await asyncio.gather(talked, breaking, *helping, return_exceptions=True)
        if talked.done() and not talked.cancelled() and (error := talked.exception()):
            raise error

    async def _watch(self, stack: Stack) -> None:
        """A program that is given up ends the drill."""
        failure = await stack.failure()
        self.given_up.append(str(failure).splitlines()[0])
        self.enough.set()

    async def _evidence(self, stack: Stack, model: ModelLog, folder: Path) -> Evidence:
        evidence = Evidence()
        for attempt in range(READ_SQL_TRIES):
            try:
                await asyncio.to_thread(read_sql, stack.database_url, evidence)
                break
            except psycopg.Error:
                if attempt == READ_SQL_TRIES - 1:
                    self.given_up.append("SQL could not be read at the end")
                await asyncio.sleep(0.5)
        await asyncio.sleep(EXPORT_S)
        await model.read()
        evidence.calls, evidence.calls_missed = model.calls, model.missed
        evidence.exported = await model.exported()
        evidence.ledger = read_ledger(folder / "tools" / "ledger.ndjson")
        evidence.killed = read_killed(folder / KILLED)
        for one in (*evidence.runs.values(), *evidence.calls, *evidence.ledger, *evidence.spans):
            self.log.add(type(one).__name__, row=one)
        return evidence

    async def _clients(self, stack: Stack, net: Network) -> list[Client]:
        return [
            Client(
                record=Watched(client=number, thread=f"thr_c{number}", asks=asks),
                link=net.links[number],
                key=await _key(stack.gateway_urls[0], f"drill{number}@example.com"),
                gateways=stack.gateway_urls,
                dice=random.Random(f"client {number} {self.plan.seed}"),  # noqa: S311
                began=time.time(),
                log=self.log,
            )
            for number, asks in enumerate(self.plan.conversations)
        ]

    @asynccontextmanager
    async def _stack(self, folder: Path) -> AsyncIterator[Stack]:
        surroundings = {name: os.environ[name] for name in SURROUNDINGS if name in os.environ}
        stack = Stack(
            Plan(
                folder=folder / "home",
                credentials=Credentials.generate(),
                environ=surroundings
                | {
                    "BATON_AGENTS_HOME": str(SCENE / "agents"),
                    "BATON_TOOLS_DIR": str(folder / "tools"),
                    "AGENT_DRILL_KILLED": str(folder / KILLED),
                    "BATON_TOOL_TIMEOUT_S": str(TOOL_TIMEOUT_S),
                },
                size=Size(gateways=GATEWAYS, runners=RUNNERS, toolsvc=TOOLSVC),
                demo=True,
                demo_tokens_per_s=TOKENS_PER_S,
            ),
            show=self._printed,
            news=self._news,
        )
        try:
            try:
                await stack.start()
            except StackError as error:
                raise StackError(
                    "\n  ".join([f"{error}. The last lines:", *self.printed])
                ) from error
            yield stack
        finally:
            self.progress.phase("stopping the stack")
            await stack.stop()

    def _printed(self, name: str, line: str) -> None:
        self.log.add("line", process=name, line=line)
        self.printed.append(f"{name} | {line}")

    def _news(self, name: str, line: str) -> None:
        self.log.add("news", process=name, line=line)
        if not (name.startswith("runner") and HOW in line):  # a poisonous run has told of it
            self.own_deaths.append(f"{name} {line}")

    def _said(self, hit: Hit) -> None:
        self.progress.hit(hit)


async def _first_of(tasks: Sequence[asyncio.Future[Any]], seconds: float) -> None:
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


async def _read_from_time_to_time(model: ModelLog) -> None:
    while True:
        await asyncio.sleep(READ_LOG_EVERY_S)
        with suppress(httpx.HTTPError):
            await model.read()


async def _key(gateway: str, email: str) -> str:
    """A key of a new person."""
    async with httpx.AsyncClient(
        base_url=gateway, headers={"Origin": gateway}, trust_env=False, timeout=15
    ) as http:
        (await http.post("/auth/dev-login", json={"email": email})).raise_for_status()
        answer = await http.post("/api/keys", json={"name": "drill"})
        answer.raise_for_status()
        key: str = answer.json()["key"]
        return key


def _outcome(row: RunRow) -> str:
    return f"{row.status} ({row.error_code})" if row.error_code else row.status
