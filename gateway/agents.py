"""Which agents there are; read from SQL at most once a second."""

import time
from typing import Any

from gateway.services import Services
from gateway.store import agents
from gateway.store.turns import Own

#: Runners announce their agents a few times a day; every run asks.
FRESH_S = 1.0


async def known_agents(services: Services) -> dict[str, dict[str, Any]]:
    """All agents by name, as the runners announced them."""
    cached = services.agents
    if cached and time.monotonic() - cached[0] < FRESH_S:
        return cached[1]
    asked_at = time.monotonic()
    async with services.db.reading(Own.UPKEEP) as db:
        found = await agents.announced(db)
    services.agents = (asked_at, found)
    return found
