"""An HTTP client for streamed answers that costs next to nothing: for measuring servers only.

One connection is kept, and asked one thing after the other. Answers are looked at as bytes and
never parsed: what ends with an empty line is an event.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

_LINE, _EVENT = b"\r\n", b"\n\n"


class RawHttp(asyncio.Protocol):
    """One connection; `received` gets every event's bytes, `lost` why nothing more comes."""

    def __init__(
        self, head: bytes, received: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> None:
        self.received, self.lost = received, lost
        self._head = head
        self._bytes = b""
        self._text = b""
        self._answering = False  # the head of an answer has come, and not yet its end
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take in bytes: heads of answers, and pieces of their bodies."""
        self._bytes = self._bytes + data if self._bytes else data
        while self._piece() if self._answering else self._begun():
            pass

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has hung up."""
        self.lost(str(exc or "the server closed the connection"))

    def send(self, payload: bytes) -> None:
        """Post a body."""
        if self._transport:
            self._transport.write(self._head % len(payload) + payload)

    def close(self) -> None:
        """Hang up."""
        if self._transport:
            self._transport.close()

    def _begun(self) -> bool:
        head, found, rest = self._bytes.partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 200 ") or b"chunked" not in head.lower():
            self.lost(self._bytes.decode("utf-8", "replace"))
            self.close()
            return False
        self._bytes, self._answering = rest, True
        return True

    def _piece(self) -> bool:
        """Take one chunk (RFC 9112, 7.1) off what has come; whether there was a whole one."""
        size, found, rest = self._bytes.partition(_LINE)
        length = int(size, 16) if found else 0
        if not found or len(rest) < length + len(_LINE):
            return False
        self._bytes = rest[length + len(_LINE) :]
        if length == 0:
            self._answering = False
            return True
        *events, self._text = (self._text + rest[:length]).split(_EVENT)
        for event in events:
            self.received(event)
        return True


async def connect_http(
    host: str,
    port: int,
    path: str,
    headers: Sequence[str],
    received: Callable[[bytes], None],
    lost: Callable[[str], None],
) -> RawHttp:
    """Open a connection whose requests are posts of JSON."""
    lines = (
        *(f"POST {path} HTTP/1.1", f"Host: {host}:{port}", "Content-Type: application/json"),
        *(*headers, "Content-Length: %d", "", ""),
    )
    head = "\r\n".join(lines).encode()
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: RawHttp(head, received, lost), host, port
    )
    return connection
