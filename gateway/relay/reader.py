"""The one pub/sub connection of a gateway: one reader, however many channels.

A hung server keeps its sockets alive, so the connection is watched: own PING, dead after 15 s of
silence. After every loss it is made anew, all channels are subscribed again, and the relay told,
for whatever was published meanwhile is a gap.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

from shared.bus.connect import AWAY, Connection, lone_connection
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import RELAY_LAG_SECONDS

log = get_logger(__name__)

PING_EVERY_S = 5.0
DEAD_AFTER_S = 15.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
#: A server may take the connection and then say nothing.
CONNECT_WITHIN_S = 3.0
#: SUBSCRIBE takes any number of channels; this many a command keeps commands small.
CHANNELS_A_COMMAND = 500


class Reader:
    """Subscribes to channels and hands on every message; lives until `run` is cancelled."""

    def __init__(
        self,
        url: str,
        *,
        message: Callable[[bytes, bytes], None],
        restored: Callable[[], None],
    ) -> None:
        self._url, self._message, self._restored = url, message, restored
        self._channels: set[str] = set()
        self._waiting: dict[bytes, list[asyncio.Future[None]]] = {}
        self._connection: Connection | None = None
        self._heard_at = 0.0
        self._pinged_at: float | None = None
        self._restoring = False
        #: How long the newest PING took through Redis and the queue of messages before it.
        self.lag_s: float | None = None

    @property
    def connected(self) -> bool:
        """Whether the connection lives, as far as is known."""
        return self._connection is not None

    def silence_s(self) -> float:
        """Seconds since the server was last heard."""
        return time.monotonic() - self._heard_at

    async def subscribe(self, channel: str) -> None:
        """Listen to a channel; returns when the server has confirmed it.

        Raises:
            OSError, RedisError: Redis is away.
        """
        self._channels.add(channel)
        if self._connection is None:
            raise ConnectionError("redis is away")
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(channel.encode(), []).append(confirmed)
        await self._connection.send_command("SUBSCRIBE", channel)
        await confirmed

    async def unsubscribe(self, channel: str) -> None:
        """Listen no more."""
        self._channels.discard(channel)
        if self._connection is not None:
            await self._connection.send_command("UNSUBSCRIBE", channel)

    async def run(self) -> None:
        """Read until cancelled, over as many connections as it takes."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._connect()
                pause = FIRST_PAUSE_S
                await self._read()
            except AWAY as error:
                log.warning("the relay lost redis", error=str(error))
            finally:
                await self._disconnect()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _connect(self) -> None:
        """Connect and ask for all channels; the first pong says that they are subscribed."""
        connection = lone_connection(self._url, "baton-relay")
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._heard_at = time.monotonic()
        # From here on `subscribe` sends for itself, so that no channel falls between the two.
        self._connection, self._restoring = connection, True
        for channels in _chunks(sorted(self._channels), CHANNELS_A_COMMAND):
            await connection.send_command("SUBSCRIBE", *channels)

    async def _read(self) -> None:
        connection = self._connection
        assert connection is not None  # noqa: S101 - for the type checker
        watching = asyncio.create_task(self._watch(connection), name="watch redis")
        try:
            while True:
                reply = await connection.read_response(timeout=math.inf)
                self._heard_at = time.monotonic()
                self._handle(reply)
        finally:
            watching.cancel()

    async def _watch(self, connection: Connection) -> None:
        """PING, and count the wait; a silent server is dead, whatever the kernel says."""
        while self.silence_s() < DEAD_AFTER_S:
            if self._pinged_at is None:
                self._pinged_at = time.monotonic()
                with contextlib.suppress(*AWAY):
                    await connection.send_command("PING")
            await asyncio.sleep(PING_EVERY_S)
        log.warning("redis has been silent for too long")
        await connection.disconnect(nowait=True)

    def _handle(self, reply: Any) -> None:
        match reply:
            case [b"message", channel, payload]:
                self._message(channel, payload)
            case [b"subscribe", channel, _]:
                for waiting in self._waiting.pop(channel, ()):
                    if not waiting.done():
                        waiting.set_result(None)
            # Without a single channel the answer is the ordinary one.
            case [b"pong", _] | b"PONG":
                self._ponged()

    def _ponged(self) -> None:
        if self._pinged_at is not None:
            self.lag_s = time.monotonic() - self._pinged_at
            self._pinged_at = None
            RELAY_LAG_SECONDS.observe(self.lag_s)
        if self._restoring:
            self._restoring = False
            self._restored()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._pinged_at = None
        waiting, self._waiting = self._waiting, {}
        for futures in waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(ConnectionError("redis is away"))
        if connection is not None:
            await connection.disconnect(nowait=True)


def _chunks(items: list[str], size: int) -> Iterable[list[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
