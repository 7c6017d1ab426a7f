"""What is written down while a drill runs: facts, each with its time (seconds since 1970)."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from drill.plan import FaultKind
from drill.talk import Ask
from shared.protocol.position import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An event as a client got it."""

    at: float
    position: Position
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restated:
    """A `reset`: forget what lies behind the cursor, for it comes again or is in the messages."""

    at: float
    cursor: Position


@dataclass(slots=True, kw_only=True)
class Request:
    """A frame that wants an answer, or the opening of a socket."""

    op: str
    run: str | None
    asked_at: float
    over_at: float | None = None  #: answered, or the connection ended
    code: str | None = None  #: `ok`, the code of an error, or nothing where the connection ended
    retryable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A run that the process carried when the fault came."""

    run: str
    fence: int


@dataclass(slots=True, kw_only=True)
class Hit:
    """A fault as it was carried out."""

    at: float
    kind: FaultKind
    target: str
    pid: int | None = None  #: of the process that was sent a signal
    clients: tuple[int, ...] = ()
    lasts_s: float = 0.0
    victims: tuple[Victim, ...] | None = ()  #: `None` where SQL could not tell
    missed: str | None = None  #: why it could not be carried out


@dataclass(slots=True, kw_only=True)
class Watched:
    """One client's whole conversation, as the client knows it."""

    client: int
    thread: str
    asks: tuple[Ask, ...]
    frames: list[Seen | Restated] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    accepted: dict[str, float] = field(default_factory=dict)  #: when each run's `ack` came
    ended: dict[str, float] = field(default_factory=dict)  #: when the client learnt of the end
    told: set[str] = field(default_factory=set)  #: of these it learnt by REST, after a reset
    cancels: set[str] = field(default_factory=set)  #: runs that it asked to cancel


class Log:
    """The file with everything that happened, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("w", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def add(self, what: str, **fields: Any) -> None:
        """Write a line down."""
        if self._file:
            line = {"at": round(time.time(), 4), "what": what, **fields}
            self._file.write(json.dumps(line, default=_plain, separators=(",", ":")) + "\n")


def _plain(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else str(value)
