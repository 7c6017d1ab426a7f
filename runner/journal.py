"""The journal as replay reads it: recorded steps, handed out in the order of their commits.

A live step waits until everything recorded has been handed out, or until nothing has moved for a
moment: code whose next step is live may be waiting for a sibling that is live too.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from shared.protocol.record import StepRecord

#: Nothing handed out for this long: whoever is next in order is not coming before the others.
QUIET_S = 0.25


class Key(NamedTuple):
    """Where a step belongs: scope, kind (`model`, `tool` …), and position or call id."""

    scope: str
    kind: str
    place: str


class OtherPathError(Exception):
    """Replay begins something that never was, while something like it was and is not asked for."""

    def __init__(self, begun: str, recorded: str) -> None:
        super().__init__(f"{begun!r} begins, and {recorded!r} was recorded in its place")
        self.begun, self.recorded = begun, recorded


class Journal:
    """Recorded steps of a root run; each is handed out once."""

    def __init__(self, records: Sequence[StepRecord]) -> None:
        self._records = {
            Key(one.scope, one.kind, one.place): (order, one) for order, one in enumerate(records)
        }
        self._left = dict.fromkeys(self._records)  # in the order of commits
        #: By scope, the order of the newest record there or further inside.
        self._newest = {
            scope: order for key, (order, _) in self._records.items() for scope in _around(key)
        }
        self._places = {(key.scope, key.place) for key in self._records}
        self._moved = asyncio.Condition()
        #: Set when live steps begin, or nothing is left to hand out.
        self.replayed = asyncio.Event()
        if not records:
            self.replayed.set()

    @property
    def replaying(self) -> bool:
        """Whether recorded steps are left."""
        return bool(self._left)

    @property
    def left(self) -> list[Key]:
        """Recorded steps that have not been handed out, in their order."""
        return list(self._left)

    def holds(self, key: Key) -> StepRecord | None:
        """A step that was recorded before this claim, handed out or not."""
        found = self._records.get(key)
        return found[1] if found else None

    def handed_out(self, key: Key) -> bool:
        """Whether a step was recorded before this claim, and has been asked for."""
        return key in self._records and key not in self._left

    def knows_call(self, scope: str, place: str) -> bool:
        """Whether a tool call has a record, or something inside it has."""
        return (scope, place) in self._places or f"{scope}/tool:{place}" in self._newest

    def past(self, key: Key) -> bool:
        """Whether a step was recorded, and another one of its scope after it.

        What follows the newest step of a scope may not have happened before the crash.
        """
        found = self._records.get(key)
        return found is not None and self._newest[key.scope] > found[0]

    async def take(self, key: Key) -> StepRecord | None:
        """The record under `key` when its turn has come; `None` when the step is live.

        Raises:
            OtherPathError: the code does not do again what it did.
        """
        found = self._records.get(key)
        if found is None:
            await self._until(lambda: not self._left)
            self._check_path(key)
            self.replayed.set()
            return None
        order, record = found
        await self._until(lambda: not self._left or self._first_left() >= order)
        await self._hand_out([key])
        return record

    def skip(self, steps: Sequence[StepRecord], ended: AbstractSet[str]) -> list[StepRecord]:
        """Count steps as handed out before any was asked for; gives what else was by that.

        That is what was recorded later inside scopes that had ended.
        """
        for one in steps:
            self._left.pop(Key(one.scope, one.kind, one.place), None)
        inside = [key for key in self._left if not ended.isdisjoint(_around(key))]
        for key in inside:
            del self._left[key]
        if not self._left:
            self.replayed.set()
        return [self._records[key][1] for key in inside]

    async def pass_over(self, scope: str) -> list[StepRecord]:
        """Hand out everything inside a scope at once: its outcome is recorded as a whole."""
        inside = [key for key in self._left if _within(key.scope, scope)]
        if inside:
            await self._hand_out(inside)
        return [self._records[key][1] for key in inside]

    def _first_left(self) -> int:
        return self._records[next(iter(self._left))][0]

    async def _hand_out(self, keys: list[Key]) -> None:
        async with self._moved:
            for key in keys:
                self._left.pop(key, None)
            self._moved.notify_all()
        if not self._left:
            self.replayed.set()

    def _check_path(self, key: Key) -> None:
        """A first model call, while the journal has one of the same agent at the same place.

        A run has one outermost invocation, whatever its agent is called.
        """
        if (key.kind, key.place) != ("model", "0"):
            return
        agent = key.scope.rpartition(":")[0] + ":" if "/" in key.scope else "run:"
        for other in self._left:
            if (other.kind, other.place) == ("model", "0") and other.scope.startswith(agent):
                raise OtherPathError(key.scope, other.scope)

    async def _until(self, come: Callable[[], bool]) -> None:
        async with self._moved:
            while not come():
                try:
                    async with asyncio.timeout(QUIET_S):
                        await self._moved.wait()
                except TimeoutError:
                    return


def _around(key: Key) -> Iterator[str]:
    """The scopes that a step lies in, its own included."""
    scope = key.scope
    yield scope
    while "/" in scope:
        scope = scope.rpartition("/")[0]
        yield scope


def _within(scope: str, outer: str) -> bool:
    return scope == outer or scope.startswith(f"{outer}/")
