"""People who converse while something breaks, requests beside them, and the drill's judge."""

import asyncio
import itertools
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import websockets

from drill.client import Client
from drill.evidence import Evidence, ModelLog, read_ledger, read_sql
from drill.judge import claims, judge
from drill.measures import longest_request
from drill.network import Network, network
from drill.records import Hit, Log, Request, Seen, Watched
from drill.run import TOOL_TIMEOUT_S
from drill.scratch import SCENE
from drill.talk import Ask, Kind, make_ask
from drill.verdict import Violation
from shared.protocol.ids import new_id, new_thread_id
from stack.running import Stack, running_stack
from tests.scenarios.client import Person
from tests.until import until

PATIENCE_S = 60
POLL_S = 0.05
PROBE_EVERY_S = 0.25
#: People are into their answers when each has got so many events.
UNDER_WAY = 4

#: Three seconds, at the pace of 30 a second.
LONG_WORDS = 90

#: What is promised, with room for a machine that does other things too.
ANSWERED_WITHIN_S = 3.0 * 1.5
WHOLE_WITHIN_S = 15.0

Fault = Callable[[], Awaitable[None]]
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one HTTP request got."""

    what: str
    status: int
    seconds: float
    retry_after: str | None


@dataclass(slots=True, kw_only=True)
class Story:
    """What came of a fault."""

    answers: list[Answer]
    violations: list[Violation]
    claims: dict[str, int]  #: how often each run was claimed that was under way at the fault
    longest_frame: Request | None
    unended: list[str]  #: runs that a probe was told of as accepted
    whole_s: float  #: from the end of the fault until each gateway carried a new run to its end

    def assert_unharmed(self) -> None:
        """Everything that is promised of a fault of a store."""
        assert not self.violations, "\n".join(map(str, self.violations))
        assert self.unended == []
        assert {one.status for one in self.answers} <= {200, 202, 503}
        assert all(one.retry_after for one in self.answers if one.status == 503)
        slowest = max(self.answers, key=lambda one: one.seconds)
        print(f"slowest {slowest}, whole after {self.whole_s:.1f} s")
        assert slowest.seconds < ANSWERED_WITHIN_S
        if (frame := self.longest_frame) and frame.over_at:
            assert frame.over_at - frame.asked_at < ANSWERED_WITHIN_S, frame
        assert self.whole_s < WHOLE_WITHIN_S

    def refused(self) -> bool:
        """Whether any request was told to come again."""
        return any(one.status == 503 for one in self.answers)


@dataclass(slots=True, kw_only=True)
class Crowd:
    """Everybody who uses one stack."""

    stack: Stack
    folder: Path
    person: Person
    key: str
    model: ModelLog = field(init=False)

    def __post_init__(self) -> None:
        self.model = ModelLog(self.stack.demo_url or "")

    async def kill(self, name: str, by: signal.Signals) -> None:
        """End a process by a signal, and wait until its supervisor has it back."""
        process = self.stack.processes[name]
        process.kill(by)
        await process.dead()
        await process.ready()

    async def live_through(self, fault: Fault, *, hits: Sequence[Hit] = ()) -> Story:
        """Converse, break something in the middle, go on, and judge.

        `fault` returns when what it broke is whole again. `hits` excuse what the judge would hold
        against us, as a killed toolsvc excuses an unknown outcome.
        """
        ports = [urlsplit(url).port or 0 for url in self.stack.gateway_urls]
        conversations = [list(_asks(client, next(_numbers))) for client in range(4)]
        async with network(ports, len(conversations)) as net:
            clients = [self._client(net, n, asks) for n, asks in enumerate(conversations)]
            over = asyncio.Event()
            talking = asyncio.gather(*(client.converse(over) for client in clients))

            async def under_way() -> bool:
                return all(_events(client.record) >= UNDER_WAY for client in clients)

            async def over_or_failed() -> bool:
                return talking.done() or all(client.done for client in clients)

            try:
                await until(under_way, within_s=PATIENCE_S)
                probes = [_Probe(url, self.key) for url in self.stack.gateway_urls]
                whole_s = await self._break(fault, probes)
                await until(over_or_failed, within_s=PATIENCE_S)
            finally:
                over.set()
                await asyncio.wait_for(talking, timeout=15)
            watched = [client.record for client in clients]
            evidence, unended = await self._evidence(watched, probes)
            return Story(
                answers=[answer for probe in probes for answer in probe.answers],
                violations=judge(watched, evidence, hits),
                claims=claims(evidence.threads[one.thread] for one in watched),
                longest_frame=longest_request(watched, net),
                unended=unended,
                whole_s=whole_s,
            )

    async def _break(self, fault: Fault, probes: list["_Probe"]) -> float:
        probing = [asyncio.create_task(probe.run(), name="probe") for probe in probes]
        try:
            await fault()
            over = time.monotonic()
            for url in self.stack.gateway_urls:
                await self._carried_anew(url)
            return time.monotonic() - over
        finally:
            for task in probing:
                task.cancel()
            await asyncio.gather(*probing, return_exceptions=True)

    async def _carried_anew(self, url: str) -> None:
        """A new run is accepted at a gateway and shown to its end there."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(OSError, TimeoutError, websockets.WebSocketException):
                    async with self.person.socket(url=url) as socket:
                        said = await socket.say(new_thread_id(), "again", agent="Drill")
                        if said["op"] == "ack":
                            await socket.finished()
                            return
                await asyncio.sleep(POLL_S)

    def _client(self, net: Network, number: int, asks: list[Ask]) -> Client:
        return Client(
            record=Watched(client=number, thread=f"thr_{asks[0].mark}", asks=tuple(asks)),
            link=net.links[number],
            key=self.key,
            gateways=self.stack.gateway_urls,
            dice=random.Random(number),
            began=time.time(),
            log=Log(self.folder / "unused"),
        )

    async def _evidence(
        self, watched: list[Watched], probes: list["_Probe"]
    ) -> tuple[Evidence, list[str]]:
        """What SQL, the model and the ledger have of these runs; and accepted runs without end."""
        everything = Evidence()
        accepted = {run for probe in probes for run in probe.accepted}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            everything = Evidence()
            await asyncio.to_thread(read_sql, self.stack.database_url, everything)
            unended = [run for run in sorted(accepted) if not _finished(everything, run)]
            if not unended or time.monotonic() > deadline:
                break
            await asyncio.sleep(POLL_S * 4)
        await self.model.read()
        runs = {ask.run for one in watched for ask in one.asks} | accepted
        threads = {everything.runs[run].thread for run in runs if run in everything.runs}
        return Evidence(
            runs={run: row for run, row in everything.runs.items() if run in runs},
            threads={name: row for name, row in everything.threads.items() if name in threads},
            spans=[span for span in everything.spans if span.run in runs],
            calls=self.model.calls,
            calls_missed=self.model.missed,
            ledger=[
                one
                for one in read_ledger(self.folder / "tools" / "ledger.ndjson")
                if one.run in runs
            ],
            notes=everything.notes,
        ), unended


class _Probe:
    """Requests of all kinds at one gateway, one after the other, and their times."""

    def __init__(self, url: str, key: str) -> None:
        self.answers: list[Answer] = []
        self.accepted: set[str] = set()
        self._url, self._key = url, key

    async def run(self) -> None:
        """Ask until cancelled; a run that is refused for now is sent again as it was."""
        run, ready_at = new_id("run"), 0.0
        headers = {"Authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(
            base_url=self._url, headers=headers, trust_env=False, timeout=30
        ) as http:
            while True:
                await self._ask(http, "GET", "/api/threads")
                await self._ask(http, "GET", f"/api/runs/{run}/trace", unknown=True)
                if time.monotonic() > ready_at and await self._accepted(http, run):
                    run, ready_at = new_id("run"), time.monotonic() + 1
                await asyncio.sleep(PROBE_EVERY_S)

    async def _accepted(self, http: httpx.AsyncClient, run: str) -> bool:
        if await self._ask(http, "POST", f"/api/threads/thr_{run}/runs", run) != 202:
            return False
        self.accepted.add(run)
        return True

    async def _ask(
        self,
        http: httpx.AsyncClient,
        method: str,
        path: str,
        run: str = "",
        *,
        unknown: bool = False,
    ) -> int:
        message = {"id": f"usr_{run}", "role": "user", "content": "beside"}
        body = {"agent": "Drill", "input": {"runId": run, "messages": [message]}} if run else None
        asked = time.monotonic()
        answer = await http.request(method, path, json=body)
        status = 200 if unknown and answer.status_code == 404 else answer.status_code
        self.answers.append(
            Answer(
                what=f"{method} {path}",
                status=status,
                seconds=time.monotonic() - asked,
                retry_after=answer.headers.get("retry-after"),
            )
        )
        return status


@asynccontextmanager
async def crowd(
    folder: Path,
    *,
    redis_url: str | None = None,
    database_url: str | None = None,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Crowd]:
    """A stack of two gateways, runners and toolsvcs, whose stores keep what they have."""
    shutil.copytree(SCENE / "tools", folder / "tools", ignore=shutil.ignore_patterns("__*"))
    given = {
        "BATON_AGENTS_HOME": str(SCENE / "agents"),
        "BATON_TOOLS_DIR": str(folder / "tools"),
        "BATON_TOOL_TIMEOUT_S": str(TOOL_TIMEOUT_S),
        **(env or {}),
    }
    async with running_stack(
        gateways=2,
        runners=2,
        toolsvc=2,
        env=given,
        redis_url=redis_url,
        database_url=database_url,
        durable=True,
    ) as stack:
        person = await Person(stack.gateway_urls[0], "crowd@example.com").sign_in()
        try:
            made = await person.http.post("/api/keys", json={"name": "crowd"})
            made.raise_for_status()
            yield Crowd(stack=stack, folder=folder, person=person, key=made.json()["key"])
        finally:
            await person.http.aclose()


def _asks(client: int, number: int) -> list[Ask]:
    """What one person says: all of it goes on for some seconds."""
    mark = f"c{number}x0x"
    dice = random.Random(number)
    if client == 0:
        return [_long(mark)]
    kind = (Kind.LEDGER, Kind.NOTES, Kind.HANDOFF)[client - 1]
    return [make_ask(dice, [kind], mark=mark, run=f"run_{mark}", at_s=0, queued=False)]


def _long(mark: str) -> Ask:
    words = " ".join(f"word{number}" for number in range(1, 1 + LONG_WORDS))
    return Ask(
        run=f"run_{mark}",
        kind=Kind.LONG,
        mark=mark,
        text=f"{mark} [[deltas={LONG_WORDS}]] [[tokens_per_s=30]]",
        at_s=0,
        queued=False,
        answer=words,
    )


def _events(record: Watched) -> int:
    return sum(isinstance(frame, Seen) for frame in record.frames)


def _finished(evidence: Evidence, run: str) -> bool:
    row = evidence.runs.get(run)
    return row is not None and row.status == "finished"
