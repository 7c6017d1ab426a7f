"""The loop: every few minutes, batch by batch, from any number of instances.

Instances meet at the lock of a thread, which nobody waits for; what one has deleted the other does
not find.
"""

import asyncio
import random
from datetime import datetime, timedelta

from sqlalchemy import text

from shared.db.engine import AWAY as SQL_AWAY
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import RETENTION_DELETED
from toolsvc.retention.events import delete_oldest, old_threads
from toolsvc.retention.hidden import delete_batch, old_hidden_threads
from toolsvc.retention.journal import Table, delete_rows, old_roots
from toolsvc.retention.unsent import delete_unsent
from toolsvc.services import Services

log = get_logger(__name__)

EVERY_S = 600
#: Between two transactions that have deleted something: the others come first.
PAUSE_S = 0.05


async def keep_deleting(services: Services) -> None:
    """Delete what is too old until cancelled; without a policy there is nothing to do."""
    settings = services.settings
    journal: dict[Table, timedelta | None] = {
        "steps": settings.retention_steps,
        "spans": settings.retention_spans,
        "effects": settings.retention_effects,
        "files": settings.retention_effects,
    }
    kept = {table: age for table, age in journal.items() if age is not None}
    unsent, hidden = settings.retention_unsent, settings.retention_hidden_threads
    whole = (settings.retention_events, unsent, hidden)
    while kept or any(age is not None for age in whole):
        # Not all instances at once, and not at the start, when everybody is busy.
        await asyncio.sleep(random.uniform(0.1, 1) * EVERY_S)  # noqa: S311 - jitter
        try:
            now = await _now(services)
            if settings.retention_events is not None:
                await delete_events(services, now - settings.retention_events)
            if unsent is not None:
                await delete_files(services, now - unsent)
            if hidden is not None:
                await delete_hidden_threads(services, now - hidden)
            for table, age in kept.items():
                await delete_journal(services, table, now - age)
        except SQL_AWAY as error:
            log.warning("could not delete what is too old", error=str(error))
        except Exception:
            log.exception("deleting what is too old failed")


async def delete_events(services: Services, before: datetime) -> int:
    """Delete the events of runs that ended before a moment, as far as they may go; how many."""
    total = 0
    async for thread in old_threads(services.engine, before):
        while deleted := await delete_oldest(services.engine, thread, before, services.receipt_key):
            total += await _deleted("events", deleted)
    return _told("events", total)


async def delete_journal(services: Services, table: Table, before: datetime) -> int:
    """Delete the rows of root runs that ended before a moment from a table; how many."""
    total = 0
    async for root in old_roots(services.engine, table, before):
        while deleted := await delete_rows(services.engine, table, root, before):
            total += await _deleted(table, deleted)
    return _told(table, total)


async def delete_hidden_threads(services: Services, before: datetime) -> int:
    """Delete hidden threads whose last run ended before a moment; how many."""
    total = 0
    async for thread in old_hidden_threads(services.engine, before):
        table, deleted = "", 1
        while deleted and table != "threads":
            table, deleted = await delete_batch(
                services.engine, thread, before, services.receipt_key
            )
            if deleted:
                await _deleted(table, deleted)
        total += deleted
    return _told("threads", total)


async def delete_files(services: Services, before: datetime) -> int:
    """Delete files that were brought before a moment and not sent since; how many."""
    total = 0
    while deleted := await delete_unsent(services.engine, before):
        total += await _deleted("files", deleted)
    return _told("files", total)


async def _deleted(table: str, rows: int) -> int:
    RETENTION_DELETED.labels(table).inc(rows)
    await asyncio.sleep(PAUSE_S)
    return rows


def _told(table: str, total: int) -> int:
    if total:
        log.info("deleted what was too old", table=table, rows=total)
    return total


async def _now(services: Services) -> datetime:
    """The clock of the database: by it runs have ended."""
    async with services.engine.connect() as db:
        now: datetime = (await db.execute(text("SELECT now()"))).scalar_one()
    return now
