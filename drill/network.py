"""A network that can fail: one TCP proxy for each client and gateway, in this process."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

CHUNK = 65_536


@dataclass(slots=True)
class Link:
    """The way of one client to all gateways."""

    ports: list[int] = field(default_factory=list)  #: where to connect to, one for each gateway
    troubles: list[tuple[float, float]] = field(default_factory=list)  #: from and until, by `time`
    _flows: asyncio.Event = field(default_factory=asyncio.Event)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._flows.set()

    def drop(self) -> None:
        """Reset all connections."""
        now = time.time()
        self.troubles.append((now, now))
        for writer in self._open:
            writer.transport.abort()

    async def stall(self, seconds: float) -> None:
        """Let nothing pass for a while; what was sent arrives afterwards."""
        now = time.time()
        self.troubles.append((now, now + seconds))
        self._flows.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._flows.set()

    def troubled(self, since: float, until: float) -> bool:
        """Whether the network failed this client in the time between."""
        return any(start <= until and end >= since for start, end in self.troubles)

    async def carry(
        self, gateway: int, near: asyncio.StreamReader, back: asyncio.StreamWriter
    ) -> None:
        """Carry one connection to the gateway's port until either side ends it."""
        if task := asyncio.current_task():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._open.add(back)
        try:
            far, forth = await asyncio.open_connection("127.0.0.1", gateway)
        except OSError:
            await self._close(back)
            return
        self._open.add(forth)
        try:
            await asyncio.gather(self._pump(near, forth), self._pump(far, back))
        finally:
            await self._close(back, forth)

    async def close(self) -> None:
        """End all connections, and wait until they are gone."""
        self._flows.set()
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _close(self, *writers: asyncio.StreamWriter) -> None:
        for writer in writers:
            self._open.discard(writer)
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
        with suppress(OSError, RuntimeError):
            sink.write_eof()


class Network:
    """Links of all clients to all gateways."""

    def __init__(self, clients: int) -> None:
        self.links = [Link() for _ in range(clients)]


@asynccontextmanager
async def network(gateways: Sequence[int], clients: int) -> AsyncIterator[Network]:
    """A network to these ports of gateways, for the block."""
    net = Network(clients)
    servers = []
    try:
        for link in net.links:
            for port in gateways:
                server = await asyncio.start_server(partial(link.carry, port), "127.0.0.1", 0)
                servers.append(server)
                link.ports.append(server.sockets[0].getsockname()[1])
        yield net
    finally:
        for server in servers:
            server.close()
        await asyncio.gather(*(link.close() for link in net.links))
