"""Parts of what is downloaded (RFC 9110, section 14): rules without I/O."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from shared.errors import UnsatisfiableRangeError

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,20})-(\d{0,20})[ \t]*", re.ASCII | re.IGNORECASE)


class Part(NamedTuple):
    """Bytes from `first` up to `last`, both included, of `size`."""

    first: int
    last: int
    size: int

    def __str__(self) -> str:
        """As in `Content-Range`."""
        return f"bytes {self.first}-{self.last}/{self.size}"


def asked_part(headers: Mapping[str, str], *, size: int, etag: str) -> Part | None:
    """The part that a request asks for; `None` for the whole.

    The whole is also for who wants several parts at once, says something that is no range, or has
    the beginning of something else (`If-Range`).

    Raises:
        UnsatisfiableRangeError: there are no such bytes.
    """
    asked = _RANGE.fullmatch(headers.get("range", "").strip())
    if asked is None or headers.get("if-range", etag).strip() != etag:
        return None
    first, last = asked.groups()
    if not first:
        if not last:
            return None
        if not int(last):
            raise UnsatisfiableRangeError(size)
        return Part(max(0, size - int(last)), size - 1, size)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise UnsatisfiableRangeError(size)
    return Part(int(first), min(int(last), size - 1) if last else size - 1, size)
