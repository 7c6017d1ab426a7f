"""How a limit of calls at once is divided among runners: rules without I/O.

Each runner's share is worked out when its own heartbeat comes, from what all have said last. So
nothing is taken away from a runner that has it: what it has too much it gives back by its next
heartbeat, and only then somebody else gets it. The sum of all shares stays within the limit but for
two heartbeats that cross each other, whose double promise the next ones take back.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a living runner has to do at one provider."""

    runner: str
    active: int = 0
    waiting: int = 0
    #: How long the first of those that wait has waited.
    waited_s: float = 0.0
    #: What it was promised last.
    share: int = 0


def share_of(mine: Load, others: Sequence[Load], limit: int) -> int:
    """How many calls at once a runner may have from now on."""
    promised = sum(max(one.share, one.active) for one in others)
    return max(0, min(_fair([mine, *others], limit)[mine.runner], limit - promised))


def _fair(loads: Sequence[Load], limit: int) -> dict[str, int]:
    """What each would have if all began anew: as many to all, but to nobody more than it can use.

    Of what nobody needs everybody gets the same, so that a new call need not wait for a heartbeat.
    Where there is less than one for each, those come first whose calls have waited longest.
    """
    idle = 1 if limit >= len(loads) else 0
    wanted = {one.runner: max(one.active + one.waiting, idle) for one in loads}
    level = _level(sorted(wanted.values()), limit)
    fair = {runner: min(want, level) for runner, want in wanted.items()}
    left = limit - sum(fair.values())
    first_come = sorted(loads, key=lambda one: (one.waiting == 0, -one.waited_s, one.runner))
    for one in first_come:
        if left and fair[one.runner] < wanted[one.runner]:
            fair[one.runner] += 1
            left -= 1
    each, odd = divmod(left, len(loads))
    for place, one in enumerate(first_come):
        fair[one.runner] += each + (place < odd)
    return fair


def _level(wanted: Sequence[int], limit: int) -> int:
    """The most that everybody can have who wants so much; `wanted` is sorted."""
    left = limit
    for place, want in enumerate(wanted):
        equal = left // (len(wanted) - place)
        if want >= equal:
            return equal
        left -= want
    return limit
