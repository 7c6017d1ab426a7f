"""What the server received, for people and tests to look at."""

from collections import deque
from dataclasses import dataclass

import orjson

#: A long benchmark must not fill the memory; the newest are kept, as far as they fit in both.
_MAX_KEPT = 2_000
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request. Of its Authorization header only the presence is kept, never the key."""

    path: str
    has_key: bool
    body: bytes
    trace: str | None = None  #: its header `traceparent`
    at_once: int = 1  #: requests being answered when it came, itself among them


class Records:
    """The newest requests of one kind, and how many there were."""

    def __init__(self) -> None:
        self._kept: deque[Received] = deque()
        self._bytes = 0
        self._total = 0

    def add(self, received: Received) -> None:
        """Keep it, and let the oldest go where there are too many."""
        self._kept.append(received)
        self._bytes += len(received.body)
        self._total += 1
        while len(self._kept) > _MAX_KEPT or self._bytes > _MAX_BYTES:
            self._bytes -= len(self._kept.popleft().body)

    def reset(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._bytes = self._total = 0

    def as_json(self) -> bytes:
        """`{"total", "data": […]}`, the oldest first; docs/demo-model.md has the fields."""
        data = [
            {
                "path": each.path,
                "authorization": each.has_key,
                "body": _body(each.body),
                "traceparent": each.trace,
                "atOnce": each.at_once,
            }
            for each in self._kept
        ]
        return orjson.dumps({"total": self._total, "data": data})


def _body(raw: bytes) -> object:
    """As JSON where it is JSON, else as text."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode("utf-8", "replace")
