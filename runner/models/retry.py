"""What a failed model call says about its server, and when to try again: rules without I/O."""

import email.utils
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import Any

import httpx2
import openai

from shared.errors import BatonError
from shared.protocol.codes import Code

#: A longer wait than this is not believed.
LONGEST_RETRY_AFTER_S = 120.0
#: Pauses without a word of the server: at most so much before the first further try, then doubled.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 20.0

#: Deeper nobody wraps an error; and causes may go in a circle.
MOST_CAUSES = 8


class Kind(StrEnum):
    """What a failure says about the server."""

    BUSY = "busy"  #: it is there and wants fewer requests
    DOWN = "down"  #: it is not there, or does not work
    HUNG = "hung"  #: it keeps silent
    ANSWERED = "answered"  #: it works: the fault lies in the request
    UNKNOWN = "unknown"  #: nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failed try."""

    kind: Kind
    #: Whether the same request may go through later.
    again: bool
    #: Seconds that the server asks to wait.
    after_s: float | None = None


def judged(error: BaseException, *, now: float) -> Fault:
    """What to make of an error; `now` in seconds since the epoch, for dates in `Retry-After`.

    A hang is not tried again: who waits has waited long enough.
    """
    match error:
        case openai.APIStatusError():
            return _of_status(error, now)
        case openai.APIResponseValidationError():
            return Fault(kind=Kind.UNKNOWN, again=False)
        case openai.APITimeoutError() | httpx2.TimeoutException() | TimeoutError():
            cut_off = not_connected(error)
            return Fault(kind=Kind.DOWN if cut_off else Kind.HUNG, again=cut_off)
        case openai.APIConnectionError() | httpx2.TransportError():
            return Fault(kind=Kind.DOWN, again=True)
        case openai.APIError():
            return _in_stream(error)
        case BatonError(code=Code.UPSTREAM_UNAVAILABLE):
            return Fault(kind=Kind.DOWN, again=True)
    return Fault(kind=Kind.UNKNOWN, again=False)


def not_connected(error: BaseException) -> bool:
    """Whether there was no connection, or none any more, whatever class that came as.

    aiohttp's transport calls all that a ConnectTimeout, and the client that a time-out: what was
    refused at once, too.
    """
    return isinstance(error.__cause__ or error, httpx2.ConnectTimeout)


def _of_status(error: openai.APIStatusError, now: float) -> Fault:
    status, headers = error.status_code, error.response.headers
    if _out_of_quota(error):  # no wait helps
        return Fault(kind=Kind.ANSWERED, again=False)
    after_s = retry_after_s(headers, now=now)
    again = status in (408, 409, 429) or status >= 500
    again = {"true": True, "false": False}.get(headers.get("x-should-retry", ""), again)
    if status == 429:
        return Fault(kind=Kind.BUSY, again=again, after_s=after_s)
    kind = Kind.DOWN if status == 408 or status >= 500 else Kind.ANSWERED
    return Fault(kind=kind, again=again, after_s=after_s)


def _in_stream(error: openai.APIError) -> Fault:
    """An `error` event: the status was 200 by then."""
    if _out_of_quota(error) or error.type == "invalid_request_error":
        return Fault(kind=Kind.ANSWERED, again=False)
    busy = error.code == "rate_limit_exceeded"
    return Fault(kind=Kind.BUSY if busy else Kind.DOWN, again=True)


def _out_of_quota(error: openai.APIError) -> bool:
    return "insufficient_quota" in (error.code, error.type)


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that a server asks to wait; `None` where it does not say, or nothing sensible."""
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        if (asked := _number(headers.get(name))) is not None:
            return _believed(asked / per_second)
    return _believed(_seconds_until(headers.get("retry-after"), now))


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _seconds_until(date: str | None, now: float) -> float | None:
    try:
        at = email.utils.parsedate_to_datetime(date or "")
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return at.timestamp() - now
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _believed(seconds: float | None) -> float | None:
    """Nothing, a time in the past and what is no number do not count."""
    if seconds is None or math.isnan(seconds) or seconds <= 0:
        return None
    return min(seconds, LONGEST_RETRY_AFTER_S)


def pause_s(
    fault: Fault, tried: int, *, spread: Callable[[float, float], float] = random.uniform
) -> float:
    """How long to wait after the try of number `tried`: what the server says, or ever longer.

    The whole pause is chance (full jitter), so that those who failed together do not come back
    together; what a server asks for is lengthened by a tenth for the same reason.
    """
    if fault.after_s is not None:
        return fault.after_s + spread(0, fault.after_s / 10)
    return spread(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tried - 1, 30)))


def words_of(kind: Kind) -> tuple[Code, str]:
    """The code, and what people read while a call waits because of it."""
    if kind is Kind.BUSY:
        return Code.UPSTREAM_RATE_LIMITED, "The model server is busy"
    return Code.UPSTREAM_UNAVAILABLE, "The model server does not work"


def details_of(error: BaseException) -> dict[str, Any]:
    """What a log line says of a failed try; the error's words may hold secrets."""
    first = error
    for _ in range(MOST_CAUSES):
        first = first.__cause__ or first
    return {
        "error": type(error).__name__,
        "cause": type(first).__name__ if first is not error else None,
        "status": getattr(error, "status_code", None),
    }
