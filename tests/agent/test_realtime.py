"""Connections that do not come about, and one that is kept alive."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent.address import Address
from agent.errors import NoGatewayError
from agent.realtime import LostError, connected
from tests.agent.standin import StandIn, Talk

pytestmark = pytest.mark.asyncio

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(answer: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    return handle


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"", LostError),
        (b"HTTP/1.1 503 Gone\r\ncontent-length: 0\r\n\r\n", LostError),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", NoGatewayError),
    ],
)
async def test_what_is_passing_is_told_from_what_is_not(
    answer: bytes, failure: type[Exception]
) -> None:
    async with await asyncio.start_server(saying(answer), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(failure):
            async with connected(Address(f"http://127.0.0.1:{port}"), "bt_key"):
                pass


async def test_a_quiet_connection_is_kept_alive(standin: StandIn) -> None:
    async def talk(talk: Talk) -> None:
        await talk.say("welcome", version=1, heartbeatMs=1, maxFrameBytes=1000)
        frame = await talk.hear()
        await talk.say("pong", id=frame["id"])
        await talk.until_hung_up()

    standin.scripts.append(talk)
    async with connected(Address(standin.url), None) as socket:
        assert (await socket.receive())["op"] == "pong"
    assert standin.frames[0]["op"] == "ping"
