"""Turns at the database: round robin over people, a share for each, some places for the gateway."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from gateway.store.turns import Own, Turns, Who

pytestmark = pytest.mark.asyncio

ADA, BOB, CYD, DAN = (UUID(int=n) for n in range(1, 5))


class Queue:
    """Turns, and who has been given one, in order."""

    def __init__(self, places: int, *, share: int, own: int) -> None:
        self.turns = Turns(places, share=share, own=own)
        self.asked: list[tuple[Who, asyncio.Future[None]]] = []

    def ask(self, *people: Who) -> None:
        self.asked += [(who, self.turns.ask(who)) for who in people]

    def leave(self, who: Who) -> None:
        """Somebody's first turn ends, given or not."""
        found = next(one for one in self.asked if one[0] == who)
        self.asked.remove(found)
        self.turns.give_back(*found)

    @property
    def served(self) -> Sequence[Who]:
        return [who for who, turn in self.asked if turn.done()]


async def test_nobody_gets_more_than_a_share() -> None:
    queue = Queue(4, share=2, own=0)
    queue.ask(ADA, ADA, ADA, ADA, BOB)
    assert queue.served == [ADA, ADA, BOB]


async def test_a_turn_that_ends_goes_to_the_next_person_and_not_to_the_longest_queue() -> None:
    queue = Queue(2, share=2, own=0)
    queue.ask(ADA, ADA, ADA, ADA, BOB, CYD)
    queue.leave(ADA)
    assert queue.served == [ADA, ADA]  # Ada's third was first in the queue
    queue.leave(ADA)
    assert queue.served == [ADA, BOB]
    queue.leave(ADA)
    assert queue.served == [BOB, CYD]
    queue.leave(BOB)
    assert queue.served == [ADA, CYD]


async def test_people_leave_some_places_to_the_gateway() -> None:
    queue = Queue(3, share=3, own=1)
    queue.ask(ADA, BOB, CYD, Own.RELAY, Own.SIGN_IN)
    assert queue.served == [ADA, BOB, Own.RELAY]
    queue.leave(Own.RELAY)
    assert queue.served == [ADA, BOB, Own.SIGN_IN]


async def test_who_gives_up_waiting_holds_up_nobody() -> None:
    queue = Queue(1, share=1, own=0)
    queue.ask(ADA, BOB, CYD)
    queue.leave(BOB)
    assert queue.served == [ADA]
    queue.leave(ADA)
    assert queue.served == [CYD]


async def test_all_places_come_back() -> None:
    queue = Queue(3, share=2, own=1)
    everybody: list[Who] = [ADA, BOB, Own.RELAY, CYD, ADA, DAN, Own.SIGN_IN, ADA, BOB]
    queue.ask(*everybody)
    for who in everybody:
        queue.leave(who)
    queue.ask(ADA, BOB, Own.RELAY)
    assert queue.served == [ADA, BOB, Own.RELAY]
