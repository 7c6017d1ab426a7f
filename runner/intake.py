"""How much a runner begins at once: what it does not take from the doorbell, an idle one takes.

Whoever reads fastest would else carry all the runs of a dead neighbour: entries are read in a
moment, and what follows (claim, settling, showing) takes its time. And of all those runs the first
event comes before anything else of one of them, for that is what people wait for.
"""

import asyncio
from contextlib import suppress

#: Enough that claims keep a runner busy while they wait for toolsvc; few enough to leave the rest.
PLACES = 8
#: For so long a run that was taken over waits for others that are just being taken over.
MANNERS_S = 1.0


class Place:
    """A run that is beginning, from the entry that was read to the first event of its claim."""

    def __init__(self, intake: "Intake") -> None:
        self._intake = intake
        self._left = False

    def leave(self) -> None:
        """It has begun, or there was nothing to begin; more than once is no harm."""
        if not self._left:
            self._left = True
            self._intake.given_back()

    async def after_the_others(self) -> None:
        """Leave, and wait a little until all others have done so."""
        self.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(MANNERS_S):
                await self._intake.until_free(PLACES)


class Intake:
    """The places of one runner."""

    def __init__(self) -> None:
        self.free = PLACES
        self._given_back = asyncio.Event()

    def take(self) -> Place:
        """A place; whoever listens to the doorbell looks first whether one is free."""
        self.free -= 1
        return Place(self)

    def given_back(self) -> None:
        """One more is free."""
        self.free += 1
        self._given_back.set()

    async def until_free(self, places: int = 1) -> None:
        """Wait until there are so many."""
        while self.free < places:
            self._given_back.clear()
            await self._given_back.wait()
