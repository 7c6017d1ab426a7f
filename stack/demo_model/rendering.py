"""What both APIs turn a reply into: bytes ready to send, cut where time may pass."""

import secrets
from dataclasses import dataclass, field


@dataclass(slots=True)
class Rendered:
    """The bytes of one answer.

    A plain answer has ticks as well, one for each delta it would have streamed: they say how long
    the model takes. They are not sent.
    """

    head: bytes = b""  #: sent at once
    ticks: list[bytes] = field(default_factory=list)  #: one delta each, with the events before it
    tail: bytes = b""  #: sent right after the last delta
    plain: bytes = b""  #: the whole answer as one JSON body
    plain_empty: bytes = b""  #: a plain answer that says nothing (`[[fault=empty_stream]]`)
    empty_tail: bytes = b""  #: what ends a stream that says nothing


def new_id(prefix: str) -> str:
    """An id that looks like OpenAI's, e.g. `resp_` and 48 hex digits."""
    return prefix + secrets.token_hex(24)


def new_call_id(*, repeat: bool) -> str:
    """`call_` and 24 hex digits, or always the same one as some local servers give."""
    return "call_1" if repeat else "call_" + secrets.token_hex(12)
