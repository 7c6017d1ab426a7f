"""Where faults are walked: a stack, victims that carry one run each, clients, and the judge."""

import asyncio
import json
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from drill.client import Client
from drill.evidence import Evidence, ModelLog, read_ledger, read_sql
from drill.judge import judge
from drill.network import Link
from drill.records import Hit, Log, Restated, Seen, Watched
from drill.scratch import SCENE as DRILL
from drill.talk import Ask, Kind
from drill.verdict import Violation
from shared.protocol.position import Position, parse_position
from stack.demo_model import wording
from stack.demo_model.question import ToolOutput
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.faults.nursery import Fault, Forked, Nursery, nursery
from tests.scenarios.client import Person, Socket

PROPS = Path(__file__).parent / "props"
AGENT = PROPS / "agent.py"
PATIENCE_S = 60
LEASE_S = 3
POLL_S = 0.03
#: A gateway takes 200 frames at once from one socket.
THREADS_A_SOCKET = 100

#: What a runner does from time to time it does all the time here, so that each run meets it.
OFTEN = {
    "runner.worker.RESCUE_EVERY_S": 0.1,
    "runner.worker.ABOUT_EVERY_S": 0.1,
    "runner.run.EVENTS_EVERY_S": 0.1,
}


def _answer(*outputs: tuple[str, str]) -> str:
    """What the model says of these tools' answers."""
    return wording.of_outputs(tuple(ToolOutput(name=name, output=said) for name, said in outputs))


def blocking_ask(mark: str, seconds: float, once: Path) -> Ask:
    """A tool that holds up the loop of whoever carries it out first."""
    given = json.dumps({"seconds": seconds, "once": str(once)})
    text, answer = f"{mark} [[tool=block {given}]]", _answer(("block", "awake"))
    return replace(tools_ask(mark), text=text, answer=answer, ledger=0, notes=0, branches=1)


def tools_ask(mark: str) -> Ask:
    """Eight tools of all kinds at once, then text."""
    calls: dict[str, list[dict[str, str]]] = {
        "ledger": [{"text": f"{mark}/1"}, {"text": f"{mark}/2"}],
        "jot": [{"text": mark}],
        "remember": [{"text": f"one {mark}"}],
        "shout": [{"text": f"two {mark}"}],
        "summarize": [{"input": f"three {mark}"}],
        "whisper": [{}],
        "weather": [{}],
    }
    said = [
        *(f'{{"written":"{mark}/{n}"}}' for n in (1, 2)),
        f'{{"jotted":"{mark}"}}',
        wording.summary(f"one {mark}"),
        wording.summary(f"two {mark}").upper(),
        wording.summary(f"three {mark}"),
        "psst",
        "It rains.",
    ]
    named = [(name, given) for name, each in calls.items() for given in each]
    asked = " ".join(f"[[tool={name} {json.dumps(given)}]]" for name, given in named)
    return Ask(
        run=f"run_{mark}",
        kind=Kind.PARALLEL,
        mark=mark,
        text=f"{mark} {asked} [[tokens_per_s=400]]",
        at_s=0,
        queued=False,
        answer=_answer(*zip((name for name, _ in named), said, strict=True)),
        ledger=2,
        notes=1,
        branches=4,
    )


def long_ask(mark: str) -> Ask:
    """A step of five seconds. A call without a mark is not counted: cut off, it is made anew."""
    text = f"{mark.replace('x', '-')} [[deltas=100]] [[tokens_per_s=20]]"
    return replace(tools_ask(mark), text=text, answer=None, ledger=0, notes=0, branches=1)


def hand_off_ask(mark: str) -> Ask:
    """Another agent answers."""
    ask, topic = tools_ask(mark), f"the tides {mark}"
    text = f"research {topic} [[tokens_per_s=400]]"
    answer = wording.specialist(topic)
    return replace(ask, kind=Kind.HANDOFF, text=text, answer=answer, ledger=0, notes=0, branches=1)


def retried_ask(mark: str) -> Ask:
    """A model server that fails once. Calls without a mark are not counted: each is made twice."""
    text = f"{mark.replace('x', '-')} [[fault=500 times=1]]"
    return replace(tools_ask(mark), text=text, answer=None, ledger=0, notes=0, branches=3)


def stumbling_ask(mark: str) -> Ask:
    """An agent used as a tool fails, and the model is told of it."""
    given = json.dumps({"input": f"{mark} [[fault=400]]"})
    text = f"{mark} [[tool=summarize {given}]]"
    return replace(tools_ask(mark), text=text, answer=None, ledger=0, notes=0, branches=1)


@dataclass(slots=True, kw_only=True)
class Scene:
    """A stack without a runner, and everything that makes and judges runs on it."""

    stack: Stack
    nursery: Nursery
    folder: Path
    person: Person
    key: str
    log: Log
    runner_env: dict[str, str]
    toolsvc_env: dict[str, str]
    clients: list[Client] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    met: dict[str, list[str]] = field(default_factory=dict)  #: by run: where its runners died
    evidence: Evidence = field(default_factory=Evidence)
    model: ModelLog = field(init=False)

    def __post_init__(self) -> None:
        self.model = ModelLog(self.stack.demo_url or "")

    # ------------------------------------------------------------------ processes
    def agents(self, name: str) -> Path:
        """A folder with the agent under one name alone, which only those serve who are told."""
        home = self.folder / f"agents-{name}"
        (home / name).mkdir(parents=True)
        shutil.copy(AGENT, home / name / "agent.py")
        return home

    async def runner(
        self,
        agents: Path,
        *faults: Fault,
        slots: int = 1,
        record: Path | None = None,
        constants: Mapping[str, float] = OFTEN,
        **env: str,
    ) -> Forked:
        """A runner for these agents; not ready yet."""
        given = {"BATON_AGENTS_HOME": str(agents), "BATON_CONCURRENCY": str(slots)} | env
        given |= {"BATON_PORT": "0", "BATON_AGENTS_KEPT": str(self.folder / "kept")}
        return await self.nursery.start(
            "runner", self.runner_env | given, *faults, record=record, constants=constants
        )

    async def toolsvc(self, port: int, *faults: Fault, record: Path | None = None) -> Forked:
        """An instance of toolsvc; not ready yet."""
        env = self.toolsvc_env | {"BATON_PORT": str(port)}
        return await self.nursery.start("toolsvc", env, *faults, record=record)

    # ------------------------------------------------------------------ clients
    def client(self, agent: str, *asks: Ask) -> Client:
        """A client that says something to an agent, and stays until it is answered."""
        link = Link(ports=[int(self.stack.gateway_urls[0].rpartition(":")[2])])
        made = Client(
            record=Watched(client=len(self.clients), thread=f"thr_{asks[0].mark}", asks=asks),
            link=link,
            key=self.key,
            gateways=self.stack.gateway_urls,
            dice=random.Random(asks[0].mark),
            began=time.time(),
            log=self.log,
            agent=agent,
        )
        self.clients.append(made)
        return made

    # ------------------------------------------------------------------ judging
    def met_by(self, where: str) -> list[str]:
        """Where the runners of a run died, which is named by itself or by its thread."""
        return self.met.get(where.replace("thr_", "run_"), [])

    async def read_again(self) -> list[Watched]:
        """What clients get that saw the beginning of each thread and come back at the end."""
        found: list[Watched] = []
        for first in range(0, len(self.clients), THREADS_A_SOCKET):
            async with self.person.socket() as socket:
                some = self.clients[first : first + THREADS_A_SOCKET]
                found += [await self._read_thread(socket, one.record) for one in some]
        return found

    async def _read_thread(self, socket: Socket, record: Watched) -> Watched:
        again = Watched(client=record.client, thread=record.thread, asks=record.asks)
        again.accepted, again.ended = record.accepted, record.ended
        again.cancels = record.cancels
        again.frames.append(Restated(at=time.time(), cursor=Position(1, 1)))
        socket.frames.clear()
        await socket.send(op="subscribe", threadId=record.thread, after="1-1")
        for _ in record.asks:
            await socket.finished()
        again.frames += [
            Seen(at=time.time(), position=position, event=frame["event"])
            for frame in socket.events()
            if (position := parse_position(frame["id"])) is not None
        ]
        return again

    async def verdict(self) -> list[Violation]:
        """Everything that is wrong, as the drill's judge sees it."""
        again = await self.read_again()
        await asyncio.to_thread(read_sql, self.stack.database_url, self.evidence)
        await self.model.read()
        self.evidence.calls, self.evidence.calls_missed = self.model.calls, self.model.missed
        self.evidence.exported = await self.model.exported()
        self.evidence.ledger = read_ledger(self.folder / "tools" / "ledger.ndjson")
        watched = [client.record for client in self.clients]
        return judge([*watched, *again], self.evidence, self.hits)


def seen(client: Client) -> list[Seen]:
    """The events that a client has got."""
    return [frame for frame in client.record.frames if isinstance(frame, Seen)]


async def until(come: Callable[[], bool], told: Callable[[], str] = str) -> None:
    """Wait for a fact.

    Raises:
        AssertionError: it does not come; `told` says more.
    """
    last = time.monotonic() + PATIENCE_S
    while not come():
        assert time.monotonic() < last, told()
        await asyncio.sleep(POLL_S)


async def ready(*processes: Forked, said: str = "ready") -> None:
    """Wait until they serve, or have met their fault already."""
    for one in processes:
        while not any(line.get("event") == said for line in one.said()):
            if not one.lives:
                assert one.status.result() == -signal.SIGKILL, one.log.read_text()
                break
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def scene(stores: TestStores, folder: Path) -> AsyncIterator[Scene]:
    """A scene for the block."""
    async with AsyncExitStack() as lifetime:
        url = lifetime.enter_context(stores.database())
        stores.empty_redis()
        tools = folder / "tools"
        tools.mkdir()
        for file in (*DRILL.glob("tools/*.py"), *PROPS.glob("tools/*.py")):
            shutil.copy(file, tools)
        env = {
            "BATON_TOOLS_DIR": str(tools),
            "BATON_AGENTS_HOME": str(folder),
            "BATON_LEASE_S": str(LEASE_S),
            "BATON_TOOL_TIMEOUT_S": "2",
            "BATON_STREAM_TTL_S": "3600",  # all of a walk is read again at its end
        }
        stack = await lifetime.enter_async_context(running_stack(env=env, database_url=url))
        runner = stack.processes["runner-1"]
        await runner.stop()
        forks = await lifetime.enter_async_context(nursery(folder, f"{stack.demo_url}/v1"))
        person = await Person(stack.gateway_urls[0], "faults@example.com").sign_in()
        lifetime.push_async_callback(person.http.aclose)
        answer = await person.http.post("/api/keys", json={"name": "faults"})
        yield Scene(
            stack=stack,
            nursery=forks,
            folder=folder,
            person=person,
            key=answer.json()["key"],
            log=lifetime.enter_context(Log(folder / "clients.ndjson")),
            runner_env=_of_forks(runner.program.env),
            toolsvc_env=_of_forks(stack.processes["toolsvc-1"].program.env),
        )


def _of_forks(env: Mapping[str, str]) -> dict[str, str]:
    """A program's environment, for a fork that no supervisor holds."""
    told = {"BATON_LOG_FORMAT": "json", "BATON_LOG_LEVEL": "DEBUG"}
    return {name: value for name, value in env.items() if name != "BATON_SUPERVISED"} | told
