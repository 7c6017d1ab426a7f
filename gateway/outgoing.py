"""What goes out of one socket: straight to the client, and into a bounded buffer while it is slow.

Events beyond 64 KiB stay in the stream until the client has read; answers to a client that sends
without reading end the socket. One frame may be larger than all of that (a long conversation's
reset or snapshot) and must reach a client that reads, so none counts as more than a full buffer.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from shared.protocol.codes import Close

#: Events wait in the stream beyond this much, besides what the transport is sending.
BUFFER_BYTES = 65_536
#: Answers are not kept anywhere else, so they get more; a client that never reads meets the end.
MOST_BYTES = 4 * BUFFER_BYTES
#: A client that takes nothing for this long is gone, or hostile.
STUCK_S = 30.0


class Line(Protocol):
    """The way to the client, see Wire."""

    paused: bool

    def send(self, text: str) -> None:
        """Send a frame, even while paused."""
        ...

    def unsent(self) -> int:
        """Bytes that the client has not taken yet."""
        ...


class Outgoing:
    """Frames on their way to one client."""

    __slots__ = ("_bytes", "_emptied", "_fail", "_frames", "_line", "_stopped", "_stuck")

    def __init__(self, line: Line, fail: Callable[[Close, str], None]) -> None:
        self._line, self._fail = line, fail
        self._frames: deque[str] | None = None  # made when something has to wait
        self._bytes = 0
        self._stopped = False
        self._emptied: asyncio.Event | None = None  # made when somebody waits
        #: What was unsent when the client last took something, and when that was.
        self._stuck: tuple[int, float] | None = None

    def room(self) -> bool:
        """Whether another event may be put in."""
        return self._bytes < BUFFER_BYTES

    def put(self, frame: str) -> None:
        """Send a frame, or keep it until the client has taken what came before."""
        if self._stopped:
            return
        if self._frames is None and not self._line.paused:
            self._line.send(frame)
            return
        if self._frames is None:
            self._frames = deque()
        self._frames.append(frame)
        self._bytes += _weight(frame)
        if self._bytes > MOST_BYTES:
            self._fail(Close.TOO_SLOW, "the client does not read")

    def writable(self) -> None:
        """The client has taken something: send on."""
        self._stuck = None
        while self._frames and not self._line.paused:
            frame = self._frames.popleft()
            self._bytes -= _weight(frame)
            self._line.send(frame)
        if not self._frames:
            self._frames = None
        self._tell()

    def look(self, now: float) -> None:
        """End a client that takes nothing; to be called about once a second."""
        if self._stopped or not self._line.paused:
            return
        unsent = self._line.unsent()
        if self._stuck is None or unsent < self._stuck[0]:
            self._stuck = unsent, now
        elif now - self._stuck[1] >= STUCK_S:
            self._fail(Close.TOO_SLOW, "the client does not read")

    async def drained(self) -> None:
        """Wait until the client has taken what was put in, or the socket has ended."""
        if self._waits():
            if self._emptied is None:
                self._emptied = asyncio.Event()
            await self._emptied.wait()

    def stop(self) -> None:
        """The socket has ended: what comes from now on goes nowhere."""
        self._stopped = True
        self._frames = None
        self._tell()

    def _waits(self) -> bool:
        return not self._stopped and (self._frames is not None or self._line.paused)

    def _tell(self) -> None:
        if self._emptied is not None and not self._waits():
            self._emptied.set()
            self._emptied = None


def _weight(frame: str) -> int:
    return min(len(frame), BUFFER_BYTES)
