"""The deaths that poisonous runs bring about, as they write them down themselves, from inside.

Their tool writes a line into a file just before it ends its process. Nothing else knows of these
deaths without asking the services.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

#: With which the tool ends its process; the tool has it as a literal.
STATUS = 13
#: In SQL, it is told in these words.
HOW = f"exit status {STATUS}"

LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """A process that a poisonous run has ended."""

    run: str
    pid: int
    alone: bool  #: it was a process of the run's own
    at: float  #: seconds since 1970


def read_killed(file: Path) -> list[Killed]:
    """All of them, in the order in which they were ended."""
    if not file.exists():
        return []
    return [Killed(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


async def watch_killed(file: Path, told: Callable[[Killed], Awaitable[None]]) -> None:
    """Tell of each as it happens, until cancelled."""
    known = 0
    while True:
        killed = await asyncio.to_thread(read_killed, file)
        for one in killed[known:]:
            await told(one)
        known = len(killed)
        await asyncio.sleep(LOOK_EVERY_S)
