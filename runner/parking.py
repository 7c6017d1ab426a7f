"""Calls that wait for a person inside code that knows nothing of it.

A tool or guardrail may run an agent of its own by a plain `Runner.run`. Where that agent needs an
approval, the SDK gives its caller a result without an output, of which most code would make the
text "None". So such a caller gets no result: it is parked, everything beside it goes on to its end,
and then the run ends with the question. Replay comes to the same place with the answer.

Code that looks at a result's interruptions answers them itself, and gets them.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from agents.items import ToolApprovalItem

from runner import journal
from runner.home import Home
from runner.scope import Scope

#: What code reads that decides about its own agents' calls.
_LOOKED_AT = frozenset({"interruptions", "to_state"})

Path = tuple[str, ...]


class Parking:
    """What is parked in one run, and whether anything else still goes on; kept at home."""

    def __init__(self, home: Home, over: Callable[[list[ToolApprovalItem]], None]) -> None:
        self._home, self._over = home, over
        self._busy: Counter[Path] = Counter()
        self._parked: list[tuple[Path, Sequence[ToolApprovalItem]]] = []
        self._changes = 0

    @contextmanager
    def at_work(self, path: Path) -> Iterator[None]:
        """Something goes on in a scope for the block, in whatever loop."""
        self._home.soon(self._begin, path)
        try:
            yield
        finally:
            with suppress(RuntimeError):  # home is gone, and what is left here is thrown away
                self._home.soon(self._end, path)

    async def ask(self, scope: Scope, interruptions: Sequence[ToolApprovalItem]) -> NoReturn:
        """Wait for a person: this never returns, and when all is quiet the run ends."""
        self._home.soon(self._park, scope.path, interruptions)
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")

    def _begin(self, path: Path) -> None:
        self._busy[path] += 1
        self._changes += 1

    def _end(self, path: Path) -> None:
        self._busy[path] -= 1
        if not self._busy[path]:
            del self._busy[path]
        self._changed()

    def _park(self, path: Path, interruptions: Sequence[ToolApprovalItem]) -> None:
        self._parked.append((path, interruptions))
        self._changed()

    def _changed(self) -> None:
        self._changes += 1
        if self._parked and self._quiet():
            loop = asyncio.get_running_loop()
            loop.call_later(journal.QUIET_S, self._settle, self._changes)

    def _quiet(self) -> bool:
        """Whether nothing goes on but what waits for something parked."""
        return all(
            any(parked[: len(path)] == path for parked, _ in self._parked) for path in self._busy
        )

    def _settle(self, changes: int) -> None:
        if changes == self._changes:
            self._over([one for _, interruptions in self._parked for one in interruptions])


def looks_itself() -> bool:
    """Whether code of the author's, between the caller and its tool, looks at interruptions."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("runner."):
            return False
        theirs = module != "agents" and not module.startswith(("agents.", "asyncio."))
        if theirs and not _LOOKED_AT.isdisjoint(frame.f_code.co_names):
            return True
        frame = frame.f_back
    return False
