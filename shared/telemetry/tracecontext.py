"""The trace that what is done now belongs to, across processes (W3C Trace Context, level 1).

A request that brings a `traceparent` goes on with it, and so do the run that it makes, the runner
and toolsvc. A run that came without one is a trace of its own, named by its root's uuid.
"""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass, replace
from hashlib import sha256
from uuid import UUID

HEADER = "traceparent"
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TraceParent:
    """A trace, and the span in it that something is done for; hexadecimal, as on the wire."""

    trace: str
    span: str
    #: Whether the one who asked records it.
    sampled: bool = True
    #: Whether somebody asked for it; else it is a name that we gave, for our own eyes.
    asked: bool = True

    @property
    def header(self) -> str:
        """The value of the header."""
        return f"00-{self.trace}-{self.span}-{'01' if self.sampled else '00'}"

    def inside(self, span: str | None = None) -> "TraceParent":
        """The same trace, with a span of our own."""
        return replace(self, span=span or secrets.token_hex(8))


#: What is done in this task is done for; `None` where nobody asked for a trace.
TRACE: ContextVar[TraceParent | None] = ContextVar("baton_trace", default=None)


def parsed(header: object) -> TraceParent | None:
    """What a header says; `None` for one that says nothing, which is no error (section 4.3)."""
    found = _FORM.fullmatch(header) if isinstance(header, str) else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not (int(trace, 16) and int(span, 16)):
        return None
    return TraceParent(trace, span, sampled=bool(int(flags, 16) & 1))


def begun() -> TraceParent:
    """A trace that begins here."""
    return TraceParent(secrets.token_hex(16), secrets.token_hex(8))


def trace_of_run(root: UUID, header: object) -> TraceParent:
    """The trace of a run: the one it was asked for in, else the one named by its root's uuid."""
    return parsed(header) or TraceParent(root.hex, root.hex[16:], asked=False)


def span_id_of(name: str) -> str:
    """A span's id on the wire, from the longer one that the SDK gives it."""
    return sha256(name.encode()).hexdigest()[:16]
