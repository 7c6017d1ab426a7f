"""What can be wrong with the doorbell: no group, entries of nothing, runs that it does not name."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.doctor.finding import Defect, Finding
from gateway.doctor.runs import PATIENCE_S, WAITING
from shared.bus.connect import Redis
from shared.bus.doorbell import bells, has_group
from shared.bus.keys import GROUP

_KNOWN = text("SELECT id FROM runs WHERE id = ANY(CAST(:ids AS uuid[]))")


async def examine_bell(db: AsyncConnection, redis: Redis) -> list[Finding]:
    """What stream and SQL tell together; the stream is read last, so that it is no older."""
    waiting = (await db.execute(WAITING)).all()
    if not await has_group(redis):
        return [Finding(defect=Defect.GROUP_MISSING, subject=GROUP)]
    entries = await bells(redis)
    named: set[UUID] = {bell.run for bell in entries if bell.run}
    known = set((await db.execute(_KNOWN, {"ids": list(named)})).scalars())
    found = [
        Finding(
            defect=Defect.ENTRY_RUBBISH,
            subject=bell.entry.decode(),
            entry=bell.entry,
            detail=f"it names {bell.run or 'nothing'}",
        )
        for bell in entries
        if bell.run not in known
    ]
    served = [row for row in waiting if row.rung]
    # toolsvc rings only while there are fewer entries than waiting runs, for any entry wakes a
    # runner, and SQL decides which run it gets.
    if len(entries) - len(found) < len(served):
        found += [
            Finding(
                defect=Defect.RUN_NOT_RUNG,
                subject=row.public_id,
                run=row.id,
                thread=row.thread_id,
                detail=f"it waits since {row.age_s:.0f} s",
            )
            for row in served
            if row.id not in named and row.age_s > PATIENCE_S
        ]
    return found
