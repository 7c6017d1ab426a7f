"""The examination: two looks, some seconds apart, for what is true only for a moment is healthy.

A run whose entry has just been read, a lease that is being taken over, a stream that is ahead of a
commit under way: all of that is over at the second look. What both have seen is a finding.
"""

import asyncio

from gateway.doctor.bell import examine_bell
from gateway.doctor.cure import cure
from gateway.doctor.events import AT_ONCE, examine_events, examine_streams, newest_threads
from gateway.doctor.finding import Finding
from gateway.doctor.runs import examine_runs
from gateway.services import Services
from gateway.store.turns import Own

#: Longer than toolsvc needs to ring again, and than a commit takes.
BETWEEN_S = 3.0


async def examine(services: Services) -> list[Finding]:
    """What is wrong, and stays so. Raises what the stores raise when they are away."""
    first = await _look(services)
    if not first:
        return []
    await pause()
    seen = {finding.same for finding in first}
    return [finding for finding in await _look(services) if finding.same in seen]


async def pause() -> None:
    """Let pass what is true only for a moment."""
    await asyncio.sleep(BETWEEN_S)


async def mend(services: Services) -> list[tuple[Finding, bool]]:
    """Mend what can be mended; each finding, and whether it is gone."""
    found = await examine(services)
    for finding in found:
        await cure(services, finding)
    if not any(finding.about.fixable for finding in found):
        return [(finding, False) for finding in found]
    left = {finding.same for finding in await examine(services)}
    return [(finding, finding.same not in left) for finding in found]


async def _look(services: Services) -> list[Finding]:
    async with services.db.reading(Own.UPKEEP) as db:
        found = await examine_runs(db)
    async with services.db.reading(Own.UPKEEP) as db:
        found += await examine_bell(db, services.redis)
        threads = await newest_threads(db)
    found += await examine_streams(services.redis, threads)
    for start in range(0, len(threads), AT_ONCE):
        async with services.db.reading(Own.UPKEEP) as db:
            found += await examine_events(db, threads[start : start + AT_ONCE])
    return found
