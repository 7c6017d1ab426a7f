"""The event and its position: the noun everything else is about.

An event is one AG-UI object. Its position is `<fence>-<seq>`: `fence` says which claim of the
thread wrote it, `seq` counts 1, 2, 3 … without gaps under that fence. This one id is the entry id
in Redis, the key in SQL, the client's cursor, and what people see in redis-cli.
"""

import re
from typing import NamedTuple

#: Fence and seq fit Redis' 64 bits and JavaScript's 53; no leading zeros, so that a text is unique.
_CURSOR = re.compile(r"(0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,9})", re.ASCII)


class Position(NamedTuple):
    """Where an event stands in its thread; positions order as tuples do."""

    fence: int
    seq: int

    def __str__(self) -> str:
        return f"{self.fence}-{self.seq}"

    def precedes(self, other: "Position") -> bool:
        """Whether nothing can stand between: `other` is the next seq of the same fence."""
        return other.fence == self.fence and other.seq == self.seq + 1


#: Before every event of a thread.
START = Position(0, 0)


def parse_position(text: str) -> Position | None:
    """`"3-17"` → `Position(3, 17)`; `None` where the text is not a cursor."""
    match = _CURSOR.fullmatch(text)
    return Position(int(match[1]), int(match[2])) if match else None
