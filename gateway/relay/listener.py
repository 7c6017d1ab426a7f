"""A listener: one socket's interest in one thread, with a cursor of its own."""

from collections.abc import Callable, Iterable
from typing import Protocol
from uuid import UUID

from gateway.relay.feed import Shown
from shared.bus.events import PAGE
from shared.protocol.frames import event_frame
from shared.protocol.position import START, Position


class Sink(Protocol):
    """Where frames go: a socket's buffer."""

    def room(self) -> bool:
        """Whether the buffer takes more; the stream keeps what it does not."""
        ...

    def send(self, frame: str) -> None:
        """Put a frame into the buffer."""
        ...

    async def drained(self) -> None:
        """Wait until the buffer is empty."""
        ...

    def restart(self, listener: "Listener") -> None:
        """The listener's cursor cannot be continued: send a reset, then place it again."""
        ...

    def broken(self) -> None:
        """Something unexpected happened: let the client connect again."""
        ...


class Listener:
    """Delivers a thread's events to a sink, each once and in order.

    `placed`: its cursor is set, so that it may be caught up. `live`: news are delivered as they
    come. Otherwise somebody is catching up for it, and `stale` says that news came meanwhile.
    """

    __slots__ = (
        *("cursor", "live", "on_live", "page", "placed", "public_id", "sink", "stale"),
        *("thread", "thread_json"),
    )

    def __init__(self, sink: Sink, thread: UUID, public_id: str, cursor: Position = START) -> None:
        self.sink, self.thread, self.cursor = sink, thread, cursor
        self.public_id, self.thread_json = public_id, f'"{public_id}"'  # ids need no escaping
        #: Called once, when everything up to now has been delivered.
        self.on_live: Callable[[], None] | None = None
        #: How many events to read at once: few, where the buffer has not taken what was read.
        self.page = PAGE
        self.placed = False
        self.live = False
        self.stale = False

    def show(self, events: Iterable[Shown]) -> bool:
        """Deliver what lies after the cursor; False when the buffer has no room for all of it."""
        for at, data in events:
            if at <= self.cursor:
                continue
            if not self.sink.room():
                return False
            self.sink.send(event_frame(self.thread_json, at, data))
            self.cursor = at
        return True
