"""Take-overs of many runs at once: runners are killed, and clients tell when it goes on."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson
import psycopg

from benchmarks.dialects import BatonDialect
from benchmarks.raw_socket import RawSocket, connect
from benchmarks.targets import Target
from stack.running import Stack

AGENT = "Errands"
RUNNERS = 3
#: The first of them has all the runs.
VICTIM = "runner-1"
#: A runner must be able to carry what another one had.
ENVIRONMENT = {"BATON_CONCURRENCY": "256"}
#: Two finished steps, a model call and a tool's, and then a text under way.
TEXT = "[[turns=1 current_time]] [[deltas={deltas}]] [[tokens_per_s={pace}]]"
PACE = 4
#: The others start in this time, on a machine that does other things too.
LONG_S = 60
SHORT_S = 15
THREADS_A_SOCKET = 10
PATIENCE_S = 900.0
LOOK_S = 0.05
#: The gateway ends a socket after 45 s of silence.
PING_EVERY_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """What became of the runs of a runner that was killed."""

    times_s: list[float]  #: kill → the thread's next event
    shares: list[int]  #: how many runs each of the others took


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolated:
    """What became of runs that two deaths had made suspect."""

    seconds: float  #: second kill → all ended
    alone_s: float  #: how long each of them answers, in an undisturbed process


async def take_over(target: Target, stack: Stack, count: int) -> TakenOver:
    """Kill a runner that has `count` live runs, with two others beside it.

    Raises:
        RuntimeError: the clients lost their sockets, or nothing went on.
    """
    others = [child for name, child in stack.processes.items() if _is_runner(name, but=VICTIM)]
    await asyncio.gather(*(child.stop() for child in others))
    async with asyncio.timeout(PATIENCE_S):
        watch = await _begun(target, count, LONG_S)
        for child in others:
            child.start()
        await asyncio.gather(*(child.ready() for child in others))
        with watch.next_claims() as claims:
            killed = time.monotonic()
            stack.processes[VICTIM].kill(signal.SIGKILL, again=False)
            await watch.until(lambda: len(claims) == count)
    watch.close()
    return TakenOver(
        times_s=[at - killed for at in claims.values()], shares=await _shares(stack, watch)
    )


async def isolate(target: Target, stack: Stack, count: int) -> Isolated:
    """Kill all runners twice while `count` runs are live, so that all of these become suspect.

    Raises:
        RuntimeError: the clients lost their sockets, or the runs did not end well.
    """
    runners = [child for name, child in stack.processes.items() if _is_runner(name)]
    async with asyncio.timeout(PATIENCE_S):
        watch = await _begun(target, count, SHORT_S)
        with watch.next_claims() as claims:
            for child in runners:
                child.kill(signal.SIGKILL)
            await watch.until(lambda: len(claims) == count)
        killed = time.monotonic()
        for child in runners:
            child.kill(signal.SIGKILL)
        await watch.until(lambda: len(watch.ended) == count)
    watch.close()
    return Isolated(seconds=max(watch.ended.values()) - killed, alone_s=SHORT_S)


def _is_runner(name: str, *, but: str = "") -> bool:
    return name.startswith("runner-") and name != but


async def _begun(target: Target, count: int, seconds: float) -> "_Watch":
    """So many runs, all of them in the middle of a text that lasts for so long."""
    watch = _Watch()
    text = TEXT.format(deltas=int(seconds * PACE), pace=PACE)
    tag = f"take-{uuid4().hex[:8]}"
    for first in range(0, count, THREADS_A_SOCKET):
        key = target.keys[first // THREADS_A_SOCKET % len(target.keys)]
        dialect = BatonDialect(key, AGENT)
        socket = await watch.open(target.port, dialect)
        for number in range(first, min(count, first + THREADS_A_SOCKET)):
            name = f"{tag}-{number}"
            socket.send(dialect.run(run=name, thread=name, text=text))
    await watch.until(lambda: len(watch.streaming) == count)
    return watch


async def _shares(stack: Stack, watch: "_Watch") -> list[int]:
    query = "SELECT count(*) FROM runs WHERE public_id = ANY(%s) AND runner_id IS NOT NULL"
    async with await psycopg.AsyncConnection.connect(stack.database_url) as db:
        found = await db.execute(f"{query} GROUP BY runner_id".encode(), (list(watch.fences),))
        return sorted((count for (count,) in await found.fetchall()), reverse=True)


@dataclass(slots=True)
class _Watch:
    """What clients see of their runs, each of which has a thread of its own, of the same name."""

    fences: dict[str, int] = field(default_factory=dict)
    streaming: set[str] = field(default_factory=set)
    ended: dict[str, float] = field(default_factory=dict)
    _claims: dict[str, float] | None = None
    _pinged: float = 0.0
    _sockets: list[RawSocket] = field(default_factory=list)
    _wrong: list[str] = field(default_factory=list)

    async def open(self, port: int, dialect: BatonDialect) -> RawSocket:
        """A socket at which the server has said welcome."""
        welcomed = asyncio.Event()

        def received(frame: bytes) -> None:
            if dialect.hello() in frame:
                welcomed.set()
            else:
                self._received(orjson.loads(frame))

        socket = await connect(
            "127.0.0.1", port, dialect.path, dialect.subprotocols, received, self._wrong.append
        )
        await welcomed.wait()
        self._sockets.append(socket)
        return socket

    def close(self) -> None:
        """Hang up."""
        for socket in self._sockets:
            socket.lost = lambda _: None
            socket.close()

    @contextmanager
    def next_claims(self) -> Iterator[dict[str, float]]:
        """For the block: when each thread first had an event of its next claim."""
        self._claims = {}
        yield self._claims
        self._claims = None

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait for something; raises where a socket was lost or a run failed."""
        while not done():
            if self._wrong:
                raise RuntimeError(f"{len(self._wrong)} failures, first: {self._wrong[0][:600]}")
            if time.monotonic() - self._pinged > PING_EVERY_S:
                self._pinged = time.monotonic()
                for socket in self._sockets:
                    socket.send(b'{"op":"ping","id":"p"}')
            await asyncio.sleep(LOOK_S)

    def _received(self, frame: dict[str, Any]) -> None:
        if frame["op"] == "error":
            self._wrong.append(str(frame))
        if frame["op"] != "event":
            return
        thread, event = frame["threadId"], frame["event"]
        fence = int(frame["id"].partition("-")[0])
        before = self.fences.setdefault(thread, fence)
        if fence > before:
            self.fences[thread] = fence
            if self._claims is not None:
                self._claims[thread] = time.monotonic()
        match event["type"]:
            case "TEXT_MESSAGE_CHUNK":
                self.streaming.add(thread)
            case "RUN_FINISHED":
                self.ended[thread] = time.monotonic()
            case "RUN_ERROR":
                self._wrong.append(str(event))
            case _:
                pass
