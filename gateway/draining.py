"""When each socket of a gateway that stops is closed, without I/O.

All closed at once, all would come back at once, and the gateways that stay would have to sign in
and to resend to everybody in the same moment.
"""

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

#: Fewer sockets than this are no herd, and take only their share of the time: a person with one
#: page open need not wait for the end.
CROWD = 20
#: This share of the time goes by before anybody is sent away, for load balancers to see `/readyz`.
NOTICE = 0.2

T = TypeVar("T")


def notice_s(sockets: int, drain_s: float) -> float:
    """How long a gateway with so many sockets goes on as if nothing was, in seconds."""
    return _whole_s(sockets, drain_s) * NOTICE


def spread(sockets: Sequence[T], drain_s: float) -> Iterator[tuple[float, T]]:
    """The sockets in random order, each with its moment in seconds since the drain began."""
    whole_s = _whole_s(len(sockets), drain_s)
    begin_s = whole_s * NOTICE
    each_s = (whole_s - begin_s) / max(1, len(sockets))
    shuffled = random.sample(sockets, len(sockets))
    return ((begin_s + each_s * number, socket) for number, socket in enumerate(shuffled, 1))


def _whole_s(sockets: int, drain_s: float) -> float:
    return drain_s * min(1.0, sockets / CROWD)
