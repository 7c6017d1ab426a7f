"""Clients in a process of their own, whose first line of standard input says what to do, as JSON.

It opens its sockets, prints `ready`, waits for another line, works, and prints one JSON object. A
client is one socket with at most one run in flight.
"""

import asyncio
import random
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvloop

from benchmarks.dialects import Connection, Dialect, dialect_of

#: Opening thousands of sockets at once would overrun the listener's queue.
OPEN_AT_ONCE = 50
OPEN_S = 60
#: Clients ping this often: the gateway ends a socket after 45 s of silence.
PING_EVERY_S = 15
#: Frames that subscribe are answered from SQL, so only so many wait at once.
SUBSCRIBE_AT_ONCE = 4


@dataclass(slots=True)
class Report:
    """What the clients saw."""

    runs: int = 0
    tokens: int = 0  #: frames with text
    failures: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)  #: run → monotonic ns
    first: dict[str, int] = field(default_factory=dict)  #: run → its first token, monotonic ns
    seconds: float = 0.0
    cpu_s: float = 0.0


class Client:
    """One socket that asks for runs, one after the other."""

    def __init__(self, spec: dict[str, Any], number: int, dialect: Dialect, report: Report) -> None:
        self._spec, self._number, self._dialect, self._report = spec, number, dialect, report
        self._connection: Connection | None = None
        self.pings = dialect.pings
        self._welcomed = asyncio.Event()
        self._over = asyncio.Event()
        self._run = ""

    async def open(self) -> None:
        """Connect, and wait until the server lets us begin."""
        if self._dialect.hello() is None:
            self._welcomed.set()
        self._connection = await self._dialect.connect(
            self._spec["host"], self._spec["port"], self._received, self._failed
        )
        await self._welcomed.wait()

    async def work(self, until: float) -> None:
        """Run after run, a number of them or until the time is over."""
        await asyncio.sleep(random.uniform(0, self._spec["spread_s"]))
        for count in range(self._spec["runs"] or sys.maxsize):
            if time.monotonic() >= until:
                return
            self._run = f"{self._spec['tag']}-{self._number}-{count}"
            self._over.clear()
            thread = f"{self._spec['tag']}-{self._number}-t{count % self._dialect.threads}"
            text = f"bench-{self._run} {self._spec['text']}"
            frame = self._dialect.run(run=self._run, thread=thread, text=text)
            self._report.sent[self._run] = time.monotonic_ns()
            self._send(frame)
            try:
                async with asyncio.timeout(self._spec["run_s"]):
                    await self._over.wait()
            except TimeoutError:
                self._failed(f"run {self._run} did not end; the last frame was {self._last!r}")
                return

    async def subscribe(self, threads: list[str]) -> None:
        """Listen to threads, a few at a time."""
        for start in range(0, len(threads), SUBSCRIBE_AT_ONCE):
            some = threads[start : start + SUBSCRIBE_AT_ONCE]
            self._live_wanted = len(some)
            self._over.clear()
            for thread in some:
                self._send(orjson.dumps({"op": "subscribe", "id": thread, "threadId": thread}))
            await self._over.wait()

    async def keep_alive(self) -> None:
        """Ping until cancelled."""
        while True:
            await asyncio.sleep(PING_EVERY_S * random.uniform(0.5, 1))
            self._send(b'{"op":"ping","id":"p"}')

    def close(self) -> None:
        """Hang up."""
        if self._connection:
            self._connection.lost = lambda _: None
            self._connection.close()

    _live_wanted = 0
    _last = b""

    def _send(self, frame: bytes) -> None:
        if self._connection:
            self._connection.send(frame)

    def _received(self, frame: bytes) -> None:
        self._last = frame
        if not self._welcomed.is_set():
            if (self._dialect.hello() or b"") in frame:
                self._welcomed.set()
        elif self._dialect.is_token(frame):
            self._report.tokens += 1
            self._report.first.setdefault(self._run, time.monotonic_ns())
        elif self._dialect.is_end(frame):
            self._report.runs += 1
            self._over.set()
        elif self._dialect.is_failure(frame):
            self._failed(frame.decode("utf-8", "replace"))
        elif frame.startswith(b'{"op":"live"'):
            self._live_wanted -= 1
            if self._live_wanted == 0:
                self._over.set()

    def _failed(self, why: str) -> None:
        self._report.failures.append(why)
        self._welcomed.set()
        self._over.set()


async def main(spec: dict[str, Any]) -> None:
    """Open, wait for the word, work, report."""
    report = Report()
    clients = [Client(spec, n, dialect_of(spec, n), report) for n in range(spec["clients"])]
    await _open(clients)
    await asyncio.gather(*_subscribing(spec, clients))
    alive = [asyncio.create_task(one.keep_alive()) for one in clients if one.pings]
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    begun, cpu = time.monotonic(), time.process_time()
    if spec["text"]:
        await asyncio.gather(*(one.work(begun + spec["seconds"]) for one in clients))
    report.seconds = time.monotonic() - begun
    report.cpu_s = time.process_time() - cpu
    for task in alive:
        task.cancel()
    for client in clients:
        client.close()
    print(orjson.dumps(report).decode(), flush=True)


async def _open(clients: list[Client]) -> None:
    async with asyncio.timeout(OPEN_S):
        for start in range(0, len(clients), OPEN_AT_ONCE):
            await asyncio.gather(*(one.open() for one in clients[start : start + OPEN_AT_ONCE]))


def _subscribing(spec: dict[str, Any], clients: list[Client]) -> list[Any]:
    """Idle threads, dealt out to the sockets."""
    threads: list[str] = spec["threads"]
    return [one.subscribe(threads[n :: len(clients)]) for n, one in enumerate(clients)]


if __name__ == "__main__":
    uvloop.run(main(orjson.loads(sys.stdin.readline())))
