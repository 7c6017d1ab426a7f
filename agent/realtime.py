"""One connection to `/realtime`, sub-protocol `baton.v1`."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from agent.address import Address
from agent.errors import CliError, NoGatewayError, RefusedError
from shared.protocol.codes import Close, Code
from shared.protocol.frames import PROTOCOL_VERSION, SUBPROTOCOL

OPEN_S = 10.0
#: A reset may carry fifty long messages.
MAX_BYTES = 64 * 1024 * 1024
SERVER_ERROR = 500
_IDS = itertools.count(1)

#: Closes after which trying again cannot help, and why.
_FINAL: dict[int | None, RefusedError] = {
    Close.NOT_SIGNED_IN: RefusedError(Code.NOT_SIGNED_IN, "The key is not valid, or not any more."),
    Close.BAD_ORIGIN: RefusedError(Code.FORBIDDEN, "The gateway refuses this origin."),
    Close.TOO_BIG: RefusedError(Code.TOO_LARGE, "The message is larger than a frame may be."),
    Close.BAD_FRAME: RefusedError(Code.BAD_FRAME, "The gateway does not understand our frames."),
}


class LostError(Exception):
    """The connection is gone, or never came about; trying again may help."""


class Socket:
    """Frames out, frames in."""

    def __init__(self, connection: ClientConnection, most: int) -> None:
        self._connection = connection
        self._most = most

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a frame; it gets an id of its own unless it has one.

        Raises:
            CliError: it is larger than the gateway takes.
            LostError: the connection is gone.
        """
        text = json.dumps({"id": f"c{next(_IDS)}"} | frame)
        if len(text) > self._most:
            raise _FINAL[Close.TOO_BIG]
        try:
            await self._connection.send(text)
        except ConnectionClosed as closed:
            raise _lost(closed) from None

    async def receive(self) -> dict[str, Any]:
        """The next frame.

        Raises:
            CliError: the gateway has closed for good.
            LostError: the connection is gone.
        """
        try:
            frame = json.loads(await self._connection.recv())
        except ConnectionClosed as closed:
            raise _lost(closed) from None
        except ValueError:
            frame = None
        if not isinstance(frame, dict):
            raise LostError("a frame was no JSON object")
        return frame


@asynccontextmanager
async def connected(address: Address, key: str | None) -> AsyncIterator[Socket]:
    """A socket for the block, welcomed and kept alive.

    Raises:
        CliError: the gateway will not have us.
        LostError: there is no connection.
    """
    connection = await _open(address, key)
    try:
        welcome = await _welcome(connection, address)
        socket = Socket(connection, int(welcome.get("maxFrameBytes") or MAX_BYTES))
        beating = asyncio.create_task(
            _heartbeat(socket, float(welcome.get("heartbeatMs") or 20_000) / 1000),
            name="heartbeat",
        )
        try:
            yield socket
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
    finally:
        await connection.close()


async def _open(address: Address, key: str | None) -> ClientConnection:
    try:
        return await connect(
            address.socket_url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers={"authorization": f"Bearer {key}"} if key else None,
            user_agent_header="baton-cli",
            compression=None,
            proxy=None if address.is_loopback else True,
            open_timeout=OPEN_S,
            close_timeout=1,
            max_size=MAX_BYTES,
        )
    except InvalidStatus as refusal:
        status = refusal.response.status_code
        if status >= SERVER_ERROR:
            raise LostError(f"HTTP {status}") from None
        raise NoGatewayError(address.url, f"HTTP {status} at /realtime") from None
    except (InvalidMessage, OSError, TimeoutError) as error:  # ended in the middle, or not there
        raise LostError(type(error).__name__) from None
    except InvalidHandshake as error:
        raise NoGatewayError(address.url, type(error).__name__) from None


async def _welcome(connection: ClientConnection, address: Address) -> dict[str, Any]:
    try:
        async with asyncio.timeout(OPEN_S):
            first = await Socket(connection, MAX_BYTES).receive()
    except TimeoutError:
        raise LostError("no welcome") from None
    if first.get("op") != "welcome" or first.get("version") != PROTOCOL_VERSION:
        raise NoGatewayError(address.url, "another version of baton.v1")
    return first


async def _heartbeat(socket: Socket, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await socket.send({"op": "ping"})


def _lost(closed: ConnectionClosed) -> CliError | LostError:
    code = closed.rcvd.code if closed.rcvd else None
    return _FINAL.get(code) or LostError(f"closed with {code}")
