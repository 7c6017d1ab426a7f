"""One line of the checklist: what is looked at, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of an item; `more` are lines that belong below `why`."""

    done: bool
    why: str
    more: tuple[str, ...] = ()


#: Tells how far a long item has come.
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Item:
    """Something that has to be true before a release."""

    name: str
    #: As one would type it; and the file that has more, from the repository's root.
    command: str
    output: str | None
    look: Callable[[Tell], Finding]


@dataclass(frozen=True, slots=True)
class Looked:
    """An item after the look."""

    item: Item
    finding: Finding
    #: `None`: nobody looked.
    seconds: float | None = None
