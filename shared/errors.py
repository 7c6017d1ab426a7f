"""The errors that cross a process boundary: one code, one sentence, data to act on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from shared.protocol.codes import MEANINGS, Code


class BatonError(Exception):
    """Something a caller can act on; becomes an `error` frame, an HTTP error or a RUN_ERROR."""

    def __init__(self, code: Code, message: str | None = None, **details: Any) -> None:
        super().__init__(message or MEANINGS[code].text)
        self.code = code
        self.message = message or MEANINGS[code].text
        self.details = details

    @property
    def status(self) -> int:
        """HTTP status of the code."""
        return MEANINGS[self.code].status

    @property
    def retryable(self) -> bool:
        """Whether the same request may go through later."""
        return MEANINGS[self.code].retryable


class InvalidFieldError(BatonError):
    """A field is not what it may be; `field` is its place, parts apart by dots."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(Code.BAD_INPUT, message)
        self.field = field


class StoreAwayError(BatonError):
    """Postgres or Redis cannot be reached; nothing was done."""

    def __init__(self, store: str) -> None:
        super().__init__(Code.UNAVAILABLE, f"{store} cannot be reached right now. Try again.")
        self.store = store


class RateLimitedError(BatonError):
    """Somebody asks for too much; `retry_after_s` is how long to wait, as far as it is known."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(Code.RATE_LIMITED, message)
        self.retry_after_s = retry_after_s


class UnsatisfiableRangeError(BatonError):
    """A part is asked for that lies outside of all `size` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(Code.BAD_RANGE, f"There are no such bytes: the whole has {size:,}.")
        self.size = size


class FencedError(BatonError):
    """Another claim of the thread has taken over."""

    def __init__(self, fence: int) -> None:
        super().__init__(Code.FENCED, f"The thread has moved on past fence {fence}.")
        self.fence = fence


@dataclass(frozen=True, slots=True)
class Store:
    """A store as errors know it: what its driver raises, and which of that means "away"."""

    name: str
    errors: tuple[type[Exception], ...]
    is_away: Callable[[BaseException], bool]


def as_away(error: Exception, stores: Iterable[Store]) -> StoreAwayError | None:
    """What to tell a caller when `error` says that one of the stores cannot be reached."""
    for store in stores:
        if isinstance(error, store.errors) and store.is_away(error):
            return StoreAwayError(store.name)
    return None
