"""The worlds that are searched: small ones, each with the faults that meet there.

Together they hold every action and every fault; what two of them find apart, larger searches look
for together (`python -m tests.model --faults 2`), and random walks with everything at once.
"""

from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import NamedTuple

from tests.model.state import Faults, Scene


class World(NamedTuple):
    """A search."""

    name: str
    faults: Faults
    scene: Scene = Scene()


_NO_CLIENT = Scene(client=False)

WORLDS = (
    World("nothing goes wrong, two runs", Faults(), Scene(steps=(1, 1))),
    World("a carrier dies, the client comes back", Faults(crash=1, reconnect=1)),
    World("a carrier sleeps and wakes after its successor", Faults(freeze=1)),
    World("a run is handed over and cancelled", Faults(hand_over=1, cancel=1), Scene(steps=(0,))),
    World("a cancel meets a death", Faults(cancel=1, crash=1), Scene(steps=(0,))),
    World("Redis loses all, and then a carrier", Faults(flush=1, crash=1), Scene(steps=(0,))),
    World("Redis loses all while a zombie wakes", Faults(flush=1, freeze=1), Scene(steps=(0,))),
    World("messages and answers are lost", Faults(unheard=1, unanswered=1)),
    World("a failover, and a writer that forgets", Faults(lose=1), Scene(forgetful=True)),
    World("joined deltas, committed in parts", Faults(), Scene(words=2, partly=True)),
    World("joined deltas and a Redis that loses them", Faults(flush=1), Scene(words=2)),
    World("a client inside a joined row", Faults(reconnect=1), Scene(words=2)),
    World("many deaths", Faults(crash=3, unanswered=1), Scene(steps=(2,), client=False)),
    World("two zombies", Faults(freeze=2, flush=1), _NO_CLIENT),
    World("a zombie and a lost answer", Faults(freeze=1, crash=1, unanswered=1), _NO_CLIENT),
    World("two closers", Faults(cancel=1, crash=1, freeze=1), _NO_CLIENT),
    World("a resumed run", Faults(crash=1, freeze=1), Scene(steps=(1, 2), client=False)),
)

#: For walks: everything, more than once.
ALL = World(
    "everything at once",
    Faults(2, 2, 1, 2, 1, 3, 2, 1, 2),
    Scene(steps=(1, 2), words=2, forgetful=True, partly=True),
)


def worlds_with(faults: int) -> Iterator[World]:
    """Every choice of that many faults, with a client that watches one run of one step."""
    for chosen in combinations_with_replacement(Faults._fields, faults):
        counts = Faults(**{name: chosen.count(name) for name in chosen})
        yield World(" + ".join(chosen), counts)
