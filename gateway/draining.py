"""When each socket of a gateway that stops is closed, without I/O.

All closed at once, all would come back at once, and the gateways that stay would have to sign in
and to resend to everybody in the same moment.
"""

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

#: This share of the time goes by before anybody is sent away, for load balancers to see `/readyz`.
NOTICE = 0.2

T = TypeVar("T")


def spread(sockets: Sequence[T], drain_s: float) -> Iterator[tuple[float, T]]:
    """The sockets in random order, each with its moment in seconds since the drain began."""
    begin_s = drain_s * NOTICE
    each_s = (drain_s - begin_s) / max(1, len(sockets))
    shuffled = random.sample(sockets, len(sockets))
    return ((begin_s + each_s * number, socket) for number, socket in enumerate(shuffled, 1))
