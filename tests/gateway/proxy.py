"""A way to a store that can be blocked (everything stays open, nothing comes) or cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Passes bytes on between a port of its own and a store."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.open = asyncio.Event()
        self.open.set()
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def block(self) -> None:
        """From now on the store is a black hole."""
        self.open.clear()

    def unblock(self) -> None:
        self.open.set()

    def cut(self) -> None:
        """Lose all connections there are."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        self._writers.add(to_client)
        await self.open.wait()
        from_store, to_store = await asyncio.open_connection(*self.target)
        self._writers.add(to_store)
        for reader, writer in ((from_client, to_store), (from_store, to_client)):
            task = asyncio.create_task(self._pass_on(reader, writer), name="proxy")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self.open.wait()
                writer.write(data)
        writer.transport.abort()

    async def close(self) -> None:
        self.cut()
        self.open.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxy_to(host: str, port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(host, port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
