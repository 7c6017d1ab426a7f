"""What goes out of one socket: a bounded buffer and one writer, which lives only while it writes.

Events beyond 64 KiB stay in the stream until the client has read; answers to a client that sends
without reading end the socket. One frame may be larger than all of that (a long conversation's
reset or snapshot) and must reach a client that reads, so none counts as more than a full buffer.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from starlette.types import Send
from starlette.websockets import WebSocketDisconnect

from shared.protocol.codes import Close

#: Events wait in the stream beyond this much, besides the frame being sent.
BUFFER_BYTES = 65_536
#: Answers are not kept anywhere else, so they get more; a client that never reads meets the end.
MOST_BYTES = 4 * BUFFER_BYTES
#: A client that takes nothing for this long is gone, or hostile.
STUCK_S = 30.0


class Outgoing:
    """Frames on their way to one client."""

    def __init__(self, send: Send, fail: Callable[[Close, str], None]) -> None:
        self._send, self._fail = send, fail
        self._frames: deque[str] = deque()
        self._bytes = 0
        self._stopped = False
        self._writer: asyncio.Task[None] | None = None
        self._empty: asyncio.Event | None = None  # made when somebody waits

    def room(self) -> bool:
        """Whether another event may be put in."""
        return self._bytes < BUFFER_BYTES

    def put(self, frame: str) -> None:
        """Put a frame in; the writer takes it from there."""
        if self._stopped:
            return
        self._frames.append(frame)
        self._bytes += _weight(frame)
        if self._bytes > MOST_BYTES:
            self._fail(Close.TOO_SLOW, "the client does not read")
        elif self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="socket writer")

    async def drained(self) -> None:
        """Wait until everything has been written, or the socket has ended."""
        if self._writer is not None:
            if self._empty is None:
                self._empty = asyncio.Event()
            await self._empty.wait()

    def stop(self) -> None:
        """The socket has ended: what comes from now on goes nowhere."""
        self._stopped = True
        self._frames.clear()
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self) -> None:
        try:
            while self._frames:
                frame = self._frames.popleft()
                self._bytes -= _weight(frame)
                async with asyncio.timeout(STUCK_S):
                    await self._send({"type": "websocket.send", "text": frame})
        except TimeoutError:
            self._fail(Close.TOO_SLOW, "the client does not read")
        except (OSError, RuntimeError, WebSocketDisconnect):
            self._fail(Close.RESTARTING, "the connection is gone")
        finally:
            self._writer = None
            if self._empty is not None:
                self._empty.set()
                self._empty = None


def _weight(frame: str) -> int:
    return min(len(frame), BUFFER_BYTES)
