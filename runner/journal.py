"""The journal as replay reads it: recorded steps, handed out in the order of their commits.

A live step waits until everything recorded has been handed out, or until nothing has moved for a
moment: code whose next step is live may be waiting for a sibling that is live too.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from shared.protocol.record import StepRecord

#: Nothing handed out for this long: whoever is next in order is not coming before the others.
QUIET_S = 0.25


class Key(NamedTuple):
    """Where a step belongs: scope, `model` or `tool`, and position or call id."""

    scope: str
    kind: str
    place: str


class Journal:
    """Recorded steps of a root run; each is handed out once."""

    def __init__(self, records: Sequence[StepRecord]) -> None:
        self._records = {
            Key(one.scope, one.kind, one.place): (order, one) for order, one in enumerate(records)
        }
        self._left = set(range(len(records)))
        self._moved = asyncio.Condition()

    @property
    def replaying(self) -> bool:
        """Whether recorded steps are left."""
        return bool(self._left)

    async def take(self, key: Key) -> StepRecord | None:
        """The record under `key` when its turn has come; `None` when the step is live."""
        found = self._records.get(key)
        if found is None:
            await self._until(lambda: not self._left)
            return None
        order, record = found
        await self._until(lambda: not self._left or min(self._left) >= order)
        async with self._moved:
            self._left.discard(order)
            self._moved.notify_all()
        return record

    async def _until(self, come: Callable[[], bool]) -> None:
        async with self._moved:
            while not come():
                try:
                    async with asyncio.timeout(QUIET_S):
                        await self._moved.wait()
                except TimeoutError:
                    return
