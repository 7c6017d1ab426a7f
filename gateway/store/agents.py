"""Agents, as runners announced them."""

from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import RUNNERS

#: An agent stays known this long after its last runner: a deploy must not make it unknown.
KNOWN_FOR = text("interval '1 day'")


async def announced(db: AsyncConnection) -> dict[str, dict[str, Any]]:
    """All known agents by name; where runners differ, the newest lease wins."""
    query = (
        select(RUNNERS.c.agents)
        .where(RUNNERS.c.lease_until > func.now() - KNOWN_FOR, RUNNERS.c.agents.is_not(None))
        .order_by(RUNNERS.c.lease_until, RUNNERS.c.started_at)
    )
    found: dict[str, dict[str, Any]] = {}
    for (agents,) in await db.execute(query):
        found |= {name: {"name": name} | agent for name, agent in agents.items()}
    return dict(sorted(found.items()))
