"""What a rehearsal is told and what it says: JSON lines between the processes of `deploy-check`.

`python -m toolsvc.underway` writes a line of tools, then one for each run that is under way or
waits; `python -m runner.rehearse` reads them and says of each run what came of it.
"""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.protocol.record import ClaimedRun


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Tools(_Line):
    """The catalogue of toolsvc's tools; the first line."""

    tools: list[dict[str, Any]]


class Ending(StrEnum):
    """What came of a rehearsal."""

    REPLAYS = "replays"  #: the code comes to each recorded step again
    DIVERGES = "diverges"  #: it comes to something else
    FAILS = "fails"  #: it raises, or hangs
    NO_AGENT = "no_agent"  #: there is no such agent, or it cannot be loaded


class WhoseCode(StrEnum):
    """Whose code was tried."""

    SAME = "same"  #: what the run began with is what is here
    KEPT = "kept"  #: what it began with, from where former code is kept
    OTHER = "other"  #: the newest, for what it began with is not here


class Rehearsed(_Line):
    """One run's rehearsal: how many of its recorded steps it came to, and why to no more."""

    run: str
    thread: str
    agent: str
    ending: Ending
    #: Digest of the code that it began with, and whose was tried.
    digest: str | None = None
    code: WhoseCode | None = None
    steps: int
    replayed: int = 0
    why: str | None = None


class UnderWay(_Line):
    """A run as a claim would answer it, which nobody has claimed; or why no claim could."""

    claimed: ClaimedRun | None = None
    unreadable: Rehearsed | None = None
