"""What the judge can find."""

from dataclasses import dataclass
from enum import StrEnum


class Wrong(StrEnum):
    """Kinds of violations; each is a line of the score table."""

    LOST = "lost runs"  #: accepted, and never ended, or ended without the client learning of it
    FAILED = "runs that failed without cause"
    POISON = "poisonous runs that did not end as such, or ended too much"
    REFUSED = "requests refused for good"
    TERMINALS = "runs without exactly one beginning and end"
    DOUBLED = "doubled events"
    MISSING = "missing events"
    REORDERED = "reordered events"
    CHANGED = "events that differ from what is stored"
    TEXT = "answers that are not what the model said"
    CALLS = "finished model calls made again"
    EFFECTS = "repeated effects"
    UNDONE = "effects missing from finished runs"
    CHAIN = "broken chains"
    SPANS = "spans open after the end of their run"
    EXPORTS = "spans exported more than once"
    EVIDENCE = "evidence that is missing"
    STACK = "processes that were given up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing that must not happen, and did."""

    kind: Wrong
    where: str  #: the run or thread
    what: str
    at: float | None = None  #: seconds since 1970, where it has a time
