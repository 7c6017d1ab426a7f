"""Every key and channel of Redis, its type and its life: the one place where they are named.

Channels are named like the key they announce.
"""

from dataclasses import dataclass
from uuid import UUID

RUNS = "runs"
GROUP = "runners"
LIMIT_PREFIX = "limit"


@dataclass(frozen=True, slots=True)
class KeyKind:
    """One kind of key, for docs and for the test that finds keys without an end."""

    pattern: str
    type: str
    life: str
    content: str


KEYS = (
    KeyKind("runs", "stream", "permanent", "doorbell: an entry says that a run may wait"),
    KeyKind("thread:{<uuid>}:events", "stream", "BATON_STREAM_TTL_S after the last run", "events"),
    KeyKind("limit:<id>", "string", "60 s", "calls in the present minute of somebody's limit"),
    KeyKind("runner:<id>", "hash", "15 s", "what a runner does, for people"),
)


def events_key(thread: UUID) -> str:
    """Stream and channel of a thread's events; the braces keep it in one slot of a cluster."""
    return f"thread:{{{thread}}}:events"


def thread_of(channel: bytes) -> str:
    """The uuid inside the name of an events channel."""
    return channel[8:44].decode()


def runner_key(runner: str) -> str:
    """Hash that shows people what a runner does."""
    return f"runner:{runner}"


def user_channel(user: UUID) -> str:
    """Channel of `changed` notices for one person; no key goes with it."""
    return f"user:{{{user}}}"
