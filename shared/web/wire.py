"""An open WebSocket, driven by its transport: no task, queue or timer stays with an idle one.

wsproto understands what comes, and makes closes, pings and pongs. Text that goes out is framed
here: a server masks nothing, so that a frame is a length and the text.
"""

import asyncio
import time
from typing import Any, Protocol

from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

MAX_FRAME_BYTES = 1_048_576
#: A ping goes out this often, and has to be answered within the same time.
PING_S = 20.0
#: A client has this long to answer a close.
CLOSE_S = 10.0
#: One that has not read for long, or sends on and on, gets this much to take it.
CUT_AFTER_S = 2.0
#: Frames of any kind, also pings and pieces, that a client may send at once, and then a second. A
#: message of 1 MiB in pieces of 1 KiB is within it; a frame of 6 bytes costs 20 µs to take.
FRAMES_BURST = 1_000
FRAMES_PER_S = 100.0
#: What has come is taken in slices, so that every other socket gets its turn in between.
FRAMES_PER_TURN = 50
#: A close may have this much before it, of which each frame takes `LAST_PER_FRAME` at least.
LAST_BYTES = 65_536
LAST_PER_FRAME = 512

_TEXT = 0x81
_SHORT, _TWO_BYTES = 125, 0xFFFF


class Receiver(Protocol):
    """Whom a wire tells what happens."""

    def received(self, message: str | None) -> None:
        """A whole message came; `None` stands for a binary one."""
        ...

    def flooded(self) -> None:
        """The client sends more frames than anybody may; it is yours to close."""
        ...

    def writable(self) -> None:
        """The client has taken most of what was unsent."""
        ...

    def lost(self) -> None:
        """The connection is over, whoever ended it; nothing comes after this."""
        ...


class Wire(asyncio.Protocol):
    """One WebSocket after its handshake; it reads nothing before the first `go_on`.

    `paused`: the transport holds more than its 64 KiB. `closing`: a close has been said or heard.
    """

    __slots__ = (
        *("_awaits_pong", "_connection", "_connections", "_cut", "_frames_paid", "_held", "_last"),
        *("_parts", "_pinged_at", "_size", "_transport", "closing", "paused", "receiver"),
    )

    def __init__(
        self, transport: asyncio.Transport, connection: Connection, connections: set[Any]
    ) -> None:
        self._transport, self._connection = transport, connection
        self._connections = connections  # uvicorn's, which it ends when it stops
        self.receiver: Receiver | None = None
        self.paused = self.closing = False
        self._held = True
        self._parts: list[str] | None = None  # of a message that came in pieces
        self._size = 0
        #: The frames that came are paid for until then; a burst may lie ahead of the clock.
        self._frames_paid = 0.0
        self._last = LAST_BYTES  # what may still come after our close
        self._awaits_pong, self._pinged_at = False, time.monotonic()
        self._cut: asyncio.TimerHandle | None = None
        connections.add(self)

    # ------------------------------------------------------------------ for whoever holds it
    def send(self, text: str) -> None:
        """Send a text frame; into the void where the client is gone."""
        if not self.closing and not self._transport.is_closing():
            self._transport.write(text_frame(text))

    def unsent(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._transport.get_write_buffer_size()

    def hold(self) -> None:
        """Hand on nothing more; what comes waits, at last in the client."""
        self._held = True

    def go_on(self) -> None:
        """Hand on again, beginning with what has come meanwhile."""
        self._held = False
        if not self._transport.is_closing() and self._last > 0:
            if not self._transport.is_reading():
                self._transport.resume_reading()
            self._handle()

    def close(self, code: int, why: str) -> None:
        """Say a close, and wait for the client's; one that does not read is cut off."""
        if not self.closing:
            self._say_close(code, why)
            self._cut_after(CUT_AFTER_S if self.paused else CLOSE_S)
            if self._held:
                self.go_on()

    def look(self, now: float) -> None:
        """Ping, and end a client that has not answered; to be called about once a second."""
        if now - self._pinged_at < PING_S or self.closing or self.paused or self._held:
            return
        if self._awaits_pong:
            self._say_close(CloseReason.INTERNAL_ERROR, "keepalive ping timeout")
            self._end()
        else:
            self._awaits_pong, self._pinged_at = True, now
            self._write(Ping())

    # ------------------------------------------------------------------ the transport's side
    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        try:
            self._connection.receive_data(data)
        except LocalProtocolError:  # after both closes
            self._transport.close()
            return
        if self.closing:
            self._spend(len(data))
        if self._held:
            self._transport.pause_reading()
        elif self._last > 0:
            self._handle()

    def pause_writing(self) -> None:
        """The transport holds more than it likes."""
        self.paused = True

    def resume_writing(self) -> None:
        """It has room again."""
        self.paused = False
        if self.receiver is not None:
            self.receiver.writable()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """It is over."""
        self.closing = True
        self._connections.discard(self)
        if self._cut is not None:
            self._cut.cancel()
        if self.receiver is not None:
            receiver, self.receiver = self.receiver, None
            receiver.lost()

    def shutdown(self) -> None:
        """The server stops (uvicorn's word for it)."""
        if not self.closing:
            self._say_close(CloseReason.SERVICE_RESTART, "")
        self._end()

    # ------------------------------------------------------------------ what comes
    def _handle(self) -> None:
        """Take one slice; the rest comes after whatever else the loop has to do."""
        for count, event in enumerate(self._connection.events(), 1):
            if isinstance(event, CloseConnection):
                self._close_came(event)
            elif self.closing:
                self._spend(LAST_PER_FRAME)
            elif self._allowed(event):
                self._take(event)
            elif self.receiver is not None:
                self.receiver.flooded()
            if self._held or self._last <= 0 or self._transport.is_closing():
                return
            if count == FRAMES_PER_TURN:
                self.hold()
                asyncio.get_running_loop().call_soon(self.go_on)
                return

    def _take(self, event: Event) -> None:
        match event:
            case TextMessage() | BytesMessage():
                self._gather(event)
            case Ping():
                if not self.paused:  # a client must read, too
                    self._write(event.response())
            case Pong():
                self._awaits_pong = False

    def _allowed(self, event: Event) -> bool:
        """Whether the client may send this frame now; a part of one that is not all here may be."""
        if isinstance(event, TextMessage | BytesMessage) and not event.frame_finished:
            return True
        now = time.monotonic()
        self._frames_paid = max(self._frames_paid, now) + 1 / FRAMES_PER_S
        return self._frames_paid <= now + FRAMES_BURST / FRAMES_PER_S

    def _spend(self, size: int) -> None:
        """Listen for the client's close only so long; what else it sends stays with it."""
        self._last -= size
        if self._last <= 0:
            self._transport.pause_reading()
            self._cut_after(CUT_AFTER_S)

    def _gather(self, event: TextMessage | BytesMessage) -> None:
        data = event.data
        self._size += len(data.encode() if isinstance(data, str) else data)
        if self._size > MAX_FRAME_BYTES:
            self._parts = None
            self._say_close(CloseReason.MESSAGE_TOO_BIG, "a frame may have 1 MiB")
            self._end()
            return
        if isinstance(data, str) and not (event.message_finished and self._parts is None):
            self._parts = self._parts or []
            self._parts.append(data)
        if event.message_finished:
            whole = data if self._parts is None else "".join(self._parts)
            self._parts, self._size = None, 0
            if self.receiver is not None:
                self.receiver.received(whole if isinstance(whole, str) else None)

    def _close_came(self, event: CloseConnection) -> None:
        """The client's close or its echo, or wsproto's word for frames that make no sense."""
        if self._connection.state is ConnectionState.REMOTE_CLOSING:
            self.closing = True
            self._write(event.response())
        elif not self.closing:
            self._say_close(event.code, event.reason or "")
        self._end()

    # ------------------------------------------------------------------ what goes
    def _write(self, event: CloseConnection | Ping | Pong) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._connection.send(event))

    def _say_close(self, code: int, why: str) -> None:
        self.closing = True
        self._write(CloseConnection(code, why))

    def _end(self) -> None:
        """Close when the client has taken what is unsent; soon in any case."""
        self._transport.close()
        if self.paused:
            self._cut_after(CUT_AFTER_S)

    def _cut_after(self, patience_s: float) -> None:
        if self._cut is not None:
            self._cut.cancel()
        self._cut = asyncio.get_running_loop().call_later(patience_s, self._transport.abort)


def text_frame(text: str) -> bytes:
    """A text message in one unmasked frame (RFC 6455, section 5.2)."""
    payload = text.encode()
    size = len(payload)
    if size <= _SHORT:
        return bytes((_TEXT, size)) + payload
    if size <= _TWO_BYTES:
        return bytes((_TEXT, 126)) + size.to_bytes(2) + payload
    return bytes((_TEXT, 127)) + size.to_bytes(8) + payload
