"""What frames mean to somebody who watches one run: rules without I/O.

A thread has one run at a time, and only RUN_STARTED and RUN_FINISHED name it; so a watch knows by
the events before whether an event belongs to its run. It outlives connections: each new one begins
with `opening()`.
"""

from dataclasses import dataclass
from typing import Any

from shared.protocol.position import START, Position, parse_position

ENDS = frozenset({"RUN_FINISHED", "RUN_ERROR"})


@dataclass(frozen=True, slots=True)
class Placed:
    """An event of the run, and where it stands."""

    id: str
    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The run is stored and will end. `queued`: it waits for another one of its thread."""

    queued: bool


@dataclass(frozen=True, slots=True)
class Restarted:
    """The run's events come again from its first one."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """Whether the run has ended, only REST can tell now."""


@dataclass(frozen=True, slots=True)
class Say:
    """Send this frame."""

    frame: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway refused what we asked."""

    code: str
    message: str
    retryable: bool


Happening = Placed | Accepted | Restarted | LookUp | Say | Refused


class Watch:
    """One run as seen through any number of connections.

    `request` is the `run` frame of a run that shall be started; without it the run exists. `begun`
    says that `cursor` lies behind the run's first event.
    """

    def __init__(
        self,
        thread_id: str,
        run_id: str,
        *,
        request: dict[str, Any] | None = None,
        cursor: Position | None = None,
        begun: bool = False,
    ) -> None:
        self.thread_id, self.run_id = thread_id, run_id
        self.cursor = cursor
        self.accepted = request is None
        self.waits = False  #: for another run of its thread
        self.ended = False
        self._request = request
        self._begun = begun
        self._connections = 0

    @property
    def begun(self) -> bool:
        """Whether the next event is the run's."""
        return self._begun

    def opening(self) -> list[dict[str, Any]]:
        """What to send on a new connection."""
        self._connections += 1
        if self._request is not None and not self.accepted:
            return [self._request | {"id": "run"}]  # the run id makes a repeat harmless
        return [self._subscribe()]

    def take(self, frame: dict[str, Any]) -> list[Happening]:
        """What a frame means; frames about other things mean nothing."""
        match frame.get("op"):
            case "event" if frame.get("threadId") == self.thread_id:
                return self._event(frame)
            case "ack" if frame.get("id") == "run":
                return self._acknowledged(frame)
            case "error":
                return self._refused(frame)
            case "reset" if frame.get("threadId") == self.thread_id:
                self.cursor = parse_position(str(frame.get("cursor"))) or self.cursor
                self._begun = False
                return [Restarted()]
            case "live" if frame.get("threadId") == self.thread_id:
                return [] if self._begun or self.ended else [LookUp()]
            case "changed" if frame.get("threadId", self.thread_id) == self.thread_id:
                return [LookUp()] if self.waits and not self._begun else []
        return []

    def take_stored(self, id_: str, event: dict[str, Any]) -> Placed:
        """An event of the run that was read from REST."""
        self.cursor = max(parse_position(id_) or START, self.cursor or START)
        self._begun = True
        self._mind_end(event)
        return Placed(id_, event)

    def _event(self, frame: dict[str, Any]) -> list[Happening]:
        id_, event = frame.get("id"), frame.get("event")
        position = parse_position(id_) if isinstance(id_, str) else None
        if position is None or not isinstance(event, dict) or position <= (self.cursor or START):
            return []
        self.cursor = position
        if event.get("type") == "RUN_STARTED":
            self._begun = event.get("runId") == self.run_id
        if not self._begun:
            return []
        self._mind_end(event)
        return [Placed(str(position), event)]

    def _mind_end(self, event: dict[str, Any]) -> None:
        if event.get("type") in ENDS:
            self.ended, self._begun = True, False

    def _acknowledged(self, frame: dict[str, Any]) -> list[Happening]:
        self.accepted = True
        self.waits = frame.get("queued") is True
        told: list[Happening] = [Accepted(self.waits)]
        # The run may have been accepted on an earlier connection whose answer was lost, and have
        # events already.
        return [*told, Say(self._subscribe())] if self._connections > 1 else told

    def _refused(self, frame: dict[str, Any]) -> list[Happening]:
        if frame.get("id") not in ("run", "subscribe"):
            return []
        return [
            Refused(
                str(frame.get("code")), str(frame.get("message")), frame.get("retryable") is True
            )
        ]

    def _subscribe(self) -> dict[str, Any]:
        frame = {"op": "subscribe", "id": "subscribe", "threadId": self.thread_id}
        return frame if self.cursor is None else frame | {"after": str(self.cursor)}
