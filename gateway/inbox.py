"""Where the events of a run wait for one HTTP answer: a sink without a socket.

Bounded like a socket's buffer: what it does not take stays in the stream until the client has read.
"""

import asyncio
from typing import NamedTuple

from gateway.outgoing import BUFFER_BYTES
from gateway.relay.listener import Listener
from shared.errors import BatonError
from shared.protocol.codes import Code


class Taken(NamedTuple):
    """Frames in order; `restart` says that what follows them cannot be had from here on."""

    frames: list[str]
    restart: bool


class Inbox:
    """The sink of a run that somebody follows; `take` is for that one reader."""

    __slots__ = ("_bytes", "_ending", "_frames", "_news", "_restart", "_taken")

    def __init__(self) -> None:
        self._frames: list[str] = []
        self._bytes = 0
        self._restart = False
        self._ending: BatonError | None = None
        self._news, self._taken = asyncio.Event(), asyncio.Event()
        self._taken.set()

    # ------------------------------------------------------------------ the relay's side
    def room(self) -> bool:
        """See Sink."""
        return self._bytes < BUFFER_BYTES

    def send(self, frame: str) -> None:
        """See Sink."""
        if self._ending is None:
            self._frames.append(frame)
            self._bytes += len(frame)
            self._taken.clear()
            self._news.set()

    async def drained(self) -> None:
        """See Sink."""
        await self._taken.wait()

    def restart(self, _listener: Listener) -> None:
        """See Sink."""
        self._restart = True
        self._news.set()

    def broken(self) -> None:
        """See Sink."""
        self.end(BatonError(Code.UNAVAILABLE, "The events cannot be read right now. Ask again."))

    # ------------------------------------------------------------------ the reader's side
    def end(self, error: BatonError) -> None:
        """Nothing more comes in; when the reader has taken the rest, it meets `error`."""
        if self._ending is None:
            self._ending = error
            self._taken.set()
            self._news.set()

    async def take(self, within_s: float) -> Taken | None:
        """All that has come, once something has; `None` after `within_s` of silence.

        Raises:
            BatonError: nothing will come any more.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return None
        if self._ending is not None and not self._frames:
            raise self._ending
        taken = Taken(self._frames, self._restart)
        self._frames, self._bytes, self._restart = [], 0, False
        self._taken.set()
        if self._ending is None:
            self._news.clear()
        return taken
