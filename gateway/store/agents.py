"""Agents, as runners announced them."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import RUNNERS

#: While runners live, an agent of one that ended stays known this long: a deploy starts others.
AFTER_A_RUNNER = timedelta(minutes=2)
#: With no runner at all, everything stays known: runs wait for the first one to come back.
WITHOUT_RUNNERS = timedelta(days=1)


class Announced(NamedTuple):
    """What one runner said, and how long ago its lease ended (negative while it lives)."""

    agents: dict[str, Any]
    broken: dict[str, Any]
    ended: timedelta


async def announced(db: AsyncConnection) -> dict[str, dict[str, Any]]:
    """All known agents by name; where runners differ, the newest lease wins."""
    query = (
        select(
            RUNNERS.c.agents, RUNNERS.c.broken, (func.now() - RUNNERS.c.lease_until).label("ended")
        )
        .where(RUNNERS.c.lease_until > func.now() - WITHOUT_RUNNERS, RUNNERS.c.agents.is_not(None))
        .order_by(RUNNERS.c.lease_until, RUNNERS.c.started_at)
    )
    rows = await db.execute(query)
    return served(Announced(row.agents, row.broken or {}, row.ended) for row in rows)


def served(runners: Iterable[Announced]) -> dict[str, dict[str, Any]]:
    """What counts of it, oldest lease first; what living runners could not load does not."""
    runners = list(runners)
    living = [one for one in runners if one.ended < timedelta(0)]
    counting = [one for one in runners if not living or one.ended < AFTER_A_RUNNER]
    found: dict[str, dict[str, Any]] = {}
    for runner in counting:
        found |= {name: {"name": name} | agent for name, agent in runner.agents.items()}
    for name in {name for one in living for name in one.broken}:
        if not any(name in one.agents for one in living):
            found.pop(name, None)
    return dict(sorted(found.items()))
