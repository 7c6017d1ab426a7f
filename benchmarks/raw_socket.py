"""A WebSocket client that costs next to nothing: for measuring servers, not for anything else.

Frames are looked at as bytes and never parsed. It masks with zeros, which RFC 6455 (5.3) allows and
which leaves the payload as it is. Fragments and extensions do not occur here.
"""

import asyncio
import base64
import os
from collections.abc import Callable, Sequence
from typing import cast

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_ZERO_MASK = b"\0\0\0\0"


class RawSocket(asyncio.Protocol):
    """One client connection; `received` gets every text frame's bytes, `lost` why it ended."""

    def __init__(
        self, head: bytes, received: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> None:
        self.received, self.lost = received, lost
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = head
        self._bytes = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        """Take in bytes: first the answer to the upgrade, then frames."""
        self._bytes = self._bytes + data if self._bytes else data
        if not self.opened.done():
            head, found, rest = self._bytes.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.opened.set_exception(ConnectionError(head.decode("latin-1")))
                return
            self._bytes = rest
            self.opened.set_result(None)
        self._read_frames()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has hung up."""
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("the connection was lost"))
        self.lost(str(exc or "the server closed the connection"))

    def send(self, payload: bytes) -> None:
        """Send a text frame."""
        self._write(_TEXT, payload)

    def close(self) -> None:
        """Hang up; nobody waits for a farewell here."""
        if self._transport:
            self._transport.close()

    def _read_frames(self) -> None:
        data, at = self._bytes, 0
        while len(data) - at >= 2:
            start, length = at + 2, data[at + 1] & 0x7F
            if length == 126:
                start, length = at + 4, int.from_bytes(data[at + 2 : at + 4])
            elif length == 127:
                start, length = at + 10, int.from_bytes(data[at + 2 : at + 10])
            if len(data) < start + length:
                break
            self._handle(data[at] & 0x0F, data[start : start + length])
            at = start + length
        self._bytes = data[at:]

    def _handle(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            self.received(payload)
        elif opcode == _PING:
            self._write(_PONG, payload)
        elif opcode == _CLOSE:
            self.lost(payload[2:].decode("utf-8", "replace"))

    def _write(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = bytes((0x80 | opcode, 0x80 | size))
        elif size < 65_536:
            head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2)
        else:
            head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8)
        if self._transport:
            self._transport.write(head + _ZERO_MASK + payload)


async def connect(
    host: str,
    port: int,
    path: str,
    subprotocols: Sequence[str],
    received: Callable[[bytes], None],
    lost: Callable[[str], None] = lambda _: None,
) -> RawSocket:
    """Open a socket.

    Raises:
        ConnectionError: the server refuses the upgrade.
    """
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    if subprotocols:
        lines.append(f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}")
    head = "\r\n".join([*lines, "", ""]).encode()
    _, socket = await asyncio.get_running_loop().create_connection(
        lambda: RawSocket(head, received, lost), host, port
    )
    await socket.opened
    return socket
