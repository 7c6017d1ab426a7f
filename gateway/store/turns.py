"""Turns at the database: connections are few, and nobody may keep the others from them.

Whoever waits is served person by person, round robin, and no person holds more than a share at
once. So a thousand requests of one person delay that person's requests, and nobody else's. A share
of the connections is for the gateway's own work, which people cannot use up.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from enum import Enum
from uuid import UUID


class Own(Enum):
    """The gateway's own work, by name where a person's work has the person's id."""

    SIGN_IN = "sign_in"  #: finding out who asks
    RELAY = "relay"  #: events that listeners wait for
    UPKEEP = "upkeep"  #: what all requests share, and health


Who = UUID | Own


class Turns:
    """Gives out `places`; one person gets `share` of them at most, and people leave `own` free."""

    def __init__(self, places: int, *, share: int, own: int) -> None:
        self._free, self._share, self._own = places, share, own
        self._held: Counter[Who] = Counter()
        #: Who waits, the next one first; each with their waiters in order.
        self._waiting: OrderedDict[Who, deque[asyncio.Future[None]]] = OrderedDict()

    def ask(self, who: Who) -> asyncio.Future[None]:
        """A place, or the promise of one: it is there when the future is done.

        Whatever comes of it, `give_back` it.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if who not in self._waiting and self._may(who):
            self._give(who, turn)
        else:
            self._waiting.setdefault(who, deque()).append(turn)
        return turn

    def give_back(self, who: Who, turn: asyncio.Future[None]) -> None:
        """Leave the place, or the queue."""
        if turn.done():
            self._free += 1
            self._held[who] -= 1
            if not self._held[who]:
                del self._held[who]
        else:
            self._waiting[who].remove(turn)
            if not self._waiting[who]:
                del self._waiting[who]
        self._serve()

    def _may(self, who: Who) -> bool:
        if isinstance(who, Own):
            return self._free > 0
        return self._free > self._own and self._held[who] < self._share

    def _give(self, who: Who, turn: asyncio.Future[None]) -> None:
        self._free -= 1
        self._held[who] += 1
        turn.set_result(None)

    def _serve(self) -> None:
        """Give what is free to those who may have it, each person in turn."""
        while who := next((one for one in self._waiting if self._may(one)), None):
            turns = self._waiting[who]
            self._give(who, turns.popleft())
            self._waiting.move_to_end(who)
            if not turns:
                del self._waiting[who]
