"""The network carries bytes, drops connections and holds them up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from drill.network import Network, network

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def net() -> AsyncIterator[Network]:
    """Two clients before a server that says everything again."""
    tasks = set[asyncio.Task[None]]()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        with suppress(OSError):
            while data := await reader.read(100):
                writer.write(data)
        await closed(writer)

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, network([port], clients=2) as made:
        yield made
    await asyncio.gather(*tasks)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def test_bytes_go_through(net: Network) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", net.links[0].ports[0])
    writer.write(b"hello")
    assert await reader.read(100) == b"hello"
    writer.write_eof()
    assert await reader.read(100) == b""
    await closed(writer)


async def test_a_drop_meets_one_client_alone(net: Network) -> None:
    (mine, first), (theirs, second) = [
        await asyncio.open_connection("127.0.0.1", link.ports[0]) for link in net.links
    ]
    for reader, writer in ((mine, first), (theirs, second)):
        writer.write(b"hello")
        assert await reader.read(100) == b"hello"
    net.links[0].drop()
    with suppress(ConnectionResetError):
        assert await mine.read(100) == b""
    second.write(b"still here")
    assert await theirs.read(100) == b"still here"
    for writer in (first, second):
        await closed(writer)


async def test_a_stall_holds_bytes_up_and_loses_none(net: Network) -> None:
    link = net.links[0]
    reader, writer = await asyncio.open_connection("127.0.0.1", link.ports[0])
    stalled = asyncio.create_task(link.stall(0.1))
    await asyncio.sleep(0)
    writer.write(b"hello")
    assert await reader.read(100) == b"hello"
    assert stalled.done()
    (trouble,) = link.troubles
    assert link.troubled(trouble[0] - 1, trouble[0])
    assert not link.troubled(trouble[1] + 1, trouble[1] + 2)
    await closed(writer)
