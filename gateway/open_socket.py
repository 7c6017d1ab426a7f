"""One open socket: it has performed what its client asks, and is where its listeners deliver.

Its rules are in connection.py, its buffer in outgoing.py, and performer.py does what is asked; this
is the shell around them. It has a task only while something is performed, and takes the client's
frames one after another.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import orjson

from gateway.auth.caller import Caller
from gateway.connection import (
    CloseWith,
    Connection,
    Perform,
    Send,
)
from gateway.outgoing import Outgoing
from gateway.performer import Performer
from gateway.relay.listener import Listener
from gateway.relay.relay import Relay
from gateway.services import Services
from shared.bus.keys import user_channel
from shared.protocol.codes import Close
from shared.protocol.frames import (
    HEARTBEAT_MS,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    ClientFrame,
    frame,
)
from shared.telemetry.logs import bound, get_logger, user_hash
from shared.telemetry.metrics import SOCKETS_CLOSED
from shared.web.wire import Wire

log = get_logger(__name__)


class Socket:
    """One open socket: the sink of its listeners, and the receiver of its client's wishes."""

    __slots__ = (
        *(
            "_op",
            "_over",
            "_performer",
            "_request_id",
            "_stays",
            "_wire",
            "caller",
            "out",
            "relay",
            "rules",
        ),
        "services",
    )

    def __init__(
        self,
        wire: Wire,
        caller: Caller,
        services: Services,
        relay: Relay,
        *,
        over: Callable[["Socket"], None],
    ) -> None:
        self._wire, self.caller = wire, caller
        self.services, self.relay, self._over = services, relay, over
        self.rules = Connection(now=time.monotonic(), expires_at=_monotonic(caller.expires_at))
        self.out = Outgoing(wire, self.close)
        self._performer = Performer(self, self.out, caller, services, relay)
        self._op: asyncio.Task[None] | None = None
        self._request_id = ""
        self._stays = True
        wire.receiver = self

    # ------------------------------------------------------------------ life
    async def begin(self, request_id: str) -> None:
        """Welcome the client; from then on it is heard."""
        self._request_id = request_id
        try:
            await self.relay.listen_to(user_channel(self.caller.user_id), self)
        except BaseException:
            self.broken()
            raise
        self.out.put(self._welcome())
        self._wire.go_on()

    def look(self, now: float) -> None:
        """End what is overdue, ping what is silent; called about once a second."""
        if overdue := self.rules.overdue(now=now):
            self.close(overdue.code, overdue.why)
        self.out.look(now)
        self._wire.look(now)

    def close(self, code: Close, why: str) -> None:
        """End the socket; the first reason counts."""
        if not self._wire.closing:
            SOCKETS_CLOSED.labels(int(code)).inc()
            self.out.stop()
            self._wire.close(int(code), why)

    async def leave(self) -> None:
        """Take nothing more, finish what was asked, and close when the client has the answer."""
        self._stays = False
        if self._op is not None:
            await asyncio.wait([self._op])
        await self.out.drained()
        self.close(Close.RESTARTING, "this gateway stops; connect again")

    def lost(self) -> None:
        """See Receiver."""
        self._over(self)
        self.out.stop()
        self.services.background.start(self._leave_all(), "leave a socket")

    async def _leave_all(self) -> None:
        if self._op is not None:  # what it does stands; but it may have joined a thread
            await asyncio.wait([self._op])
        await self._performer.leave_all()
        await self.relay.ignore(user_channel(self.caller.user_id), self)

    def _welcome(self) -> str:
        return frame(
            "welcome",
            version=PROTOCOL_VERSION,
            user={"id": str(self.caller.user_id), "email": self.caller.email},
            heartbeat_ms=HEARTBEAT_MS,
            max_frame_bytes=MAX_FRAME_BYTES,
        )

    # ------------------------------------------------------------------ the wire's side
    def received(self, message: str | None) -> None:
        """See Receiver."""
        if not self._stays:
            return  # no answer will come, so that the client asks elsewhere
        action = self.rules.received(message, now=time.monotonic())
        match action:
            case Send(frame=answer):
                self.out.put(answer)
            case CloseWith(code=code, why=why):
                self.close(code, why)
            case Perform(frame=asked):
                self._wire.hold()
                self._op = asyncio.create_task(self._take(asked), name=asked.op)

    def flooded(self) -> None:
        """See Receiver."""
        self.close(Close.TOO_SLOW, "too many frames")

    def writable(self) -> None:
        """See Receiver."""
        self.out.writable()

    async def _take(self, asked: ClientFrame) -> None:
        with bound(request=self._request_id, user=user_hash(self.caller.user_id)):
            await self._performer.perform(asked)
        self._op = None
        self._wire.go_on()

    # ------------------------------------------------------------------ the relay's side
    def room(self) -> bool:
        """See Sink."""
        return self.out.room()

    def send(self, frame: str) -> None:
        """See Sink."""
        self.out.put(frame)

    async def drained(self) -> None:
        """See Sink."""
        await self.out.drained()

    def restart(self, listener: Listener) -> None:
        """See Sink."""
        self.services.background.start(self._restart(listener), "reset a listener")

    async def _restart(self, listener: Listener) -> None:
        try:
            await self._performer.reset(listener)
        except Exception as error:  # noqa: BLE001 - the client connects again and starts anew
            log.warning("a listener could not be reset", error=str(error))
            self.broken()

    def broken(self) -> None:
        """See Sink."""
        self.close(Close.RESTARTING, "please connect again")

    def notice(self, payload: bytes) -> None:
        """Something of this person changed: pass it on as `changed`."""
        try:
            told = orjson.loads(payload)
            self.out.put(frame("changed", what=told["what"], threadId=told.get("threadId")))
        except (ValueError, KeyError, TypeError):
            log.warning("a notice made no sense")


def _monotonic(at: datetime | None) -> float | None:
    """A moment of the wall clock on the monotonic one."""
    if at is None:
        return None
    return time.monotonic() + (at - datetime.now(UTC)).total_seconds()
