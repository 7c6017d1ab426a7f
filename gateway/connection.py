"""The rules of one socket, without I/O: frames and moments go in, actions come out.

The shell in open_socket.py carries actions out. Times are monotonic seconds, given by the caller.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from shared.protocol.codes import Close, Code
from shared.protocol.frames import (
    CLIENT_FRAME,
    CLIENT_OPS,
    HEARTBEAT_LIMIT_MS,
    MAX_FRAME_BYTES,
    ClientFrame,
    Ping,
    error_frame,
    frame,
)
from shared.protocol.position import Position, parse_position
from shared.protocol.strict_json import NotJsonError, loads
from shared.wording import first_problem

#: A person's fastest client sends a few frames a second; this is for loops gone wild.
FRAMES_BURST = 200
FRAMES_PER_S = 50.0
MOST_SUBSCRIPTIONS = 1000


@dataclass(frozen=True, slots=True)
class Send:
    """Send this frame."""

    frame: str


@dataclass(frozen=True, slots=True)
class CloseWith:
    """Close the socket; `why` is for whoever debugs the client."""

    code: Close
    why: str


@dataclass(frozen=True, slots=True)
class Perform:
    """A frame that needs stores: subscribe, unsubscribe, run, cancel."""

    frame: ClientFrame


Action = Send | CloseWith | Perform


class Connection:
    """What one socket may do, and when it has to end."""

    __slots__ = ("_allowance", "_allowed_at", "_expires_at", "_heard_at")

    def __init__(self, *, now: float, expires_at: float | None) -> None:
        self._heard_at = now
        self._expires_at = expires_at
        self._allowance, self._allowed_at = float(FRAMES_BURST), now

    def received(self, message: str | bytes | None, *, now: float) -> Action:
        """What to do about a message of the client; `None` stands for a binary one."""
        self._heard_at = now
        if not isinstance(message, str):
            return CloseWith(Close.BAD_FRAME, "frames are text")
        if len(message.encode(errors="replace")) > MAX_FRAME_BYTES:
            return CloseWith(Close.TOO_BIG, "a frame may have 1 MiB")
        if not self._allowed(now):
            return CloseWith(Close.TOO_SLOW, "too many frames")
        try:
            raw = loads(message)
        except NotJsonError as error:
            return CloseWith(Close.BAD_FRAME, str(error)[:100])
        if not isinstance(raw, dict):
            return CloseWith(Close.BAD_FRAME, "a frame is a JSON object")
        return self._understood(raw)

    def overdue(self, *, now: float) -> CloseWith | None:
        """Whether the socket has to end by the clock."""
        if self._expires_at is not None and now >= self._expires_at:
            return CloseWith(Close.NOT_SIGNED_IN, "the sign-in has ended")
        if now - self._heard_at > HEARTBEAT_LIMIT_MS / 1000:
            return CloseWith(Close.HEARTBEAT_MISSED, "no ping came")
        return None

    def _allowed(self, now: float) -> bool:
        gained = (now - self._allowed_at) * FRAMES_PER_S
        self._allowance = min(float(FRAMES_BURST), self._allowance + gained) - 1
        self._allowed_at = now
        return self._allowance >= 0

    def _understood(self, raw: dict[str, Any]) -> Action:
        given = raw.get("id")
        id_ = given if isinstance(given, str) and 0 < len(given) <= 64 else None
        op = raw.get("op")
        if not isinstance(op, str) or op not in CLIENT_OPS:
            return Send(error_frame(Code.UNKNOWN_OP, "op: the protocol has no such op.", id=id_))
        try:
            parsed = CLIENT_FRAME.validate_python(raw)
        except ValidationError as error:
            return Send(error_frame(Code.BAD_INPUT, first_problem(error, skipped=1), id=id_))
        except RecursionError:
            return Send(error_frame(Code.BAD_INPUT, "It is nested too deeply.", id=id_))
        if isinstance(parsed, Ping):
            return Send(frame("pong", id=parsed.id))
        return Perform(parsed)


def cursor_of(text: str | None) -> Position | None:
    """A client's cursor; `None` where it has none.

    Raises:
        ValueError: the text is not a cursor.
    """
    if text is None:
        return None
    position = parse_position(text)
    if position is None:
        raise ValueError("not a cursor")
    return position
