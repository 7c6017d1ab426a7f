"""Mending what was found.

Each cure is safe where the finding was wrong: it is done under the lock of the thread and only
where it is still so, or it only wakes somebody.
"""

from uuid import UUID

from gateway.doctor.finding import Defect, Finding
from gateway.services import Services
from gateway.store.turns import Own
from gateway.toolsvc import close_run
from shared.bus.append import discard
from shared.bus.doorbell import Bell, Ring, answered, ensure_group, ring
from shared.db.line import Statement
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

_LOCK = Statement("SELECT id FROM threads WHERE id = :thread FOR NO KEY UPDATE")
_SET_FREE = Statement(
    """
    UPDATE runs SET runner_id = NULL WHERE id = :run AND status = 'running' AND NOT EXISTS (
        SELECT FROM runners WHERE runners.id = runs.runner_id AND lease_until > now()
    ) RETURNING id
    """
)
# The order in which the end of a run names the next one.
_NEXT = Statement(
    """
    UPDATE runs SET ready = true WHERE id = (
        SELECT id FROM runs WHERE thread_id = :thread AND status = 'queued'
        ORDER BY resumes IS NULL, turn, id LIMIT 1
    ) AND NOT EXISTS (
        SELECT FROM runs WHERE thread_id = :thread
            AND (status = 'running' OR status = 'queued' AND ready)
    ) AND NOT EXISTS (
        SELECT FROM interrupts WHERE thread_id = :thread AND status = 'open'
    ) RETURNING id
    """,
    lambda columns: UUID(str(columns[0])),
)
_LET_WAIT = Statement(
    """
    UPDATE runs SET ready = false
    WHERE thread_id = :thread AND status = 'queued' AND ready AND id <> (
        SELECT id FROM runs WHERE thread_id = :thread
            AND (status = 'running' OR status = 'queued' AND ready)
        ORDER BY status = 'running' DESC, resumes IS NULL, turn, id LIMIT 1
    )
    """
)


async def cure(services: Services, finding: Finding) -> None:
    """Do what the defect's cure says; one that is not fixable is left as it is."""
    run, thread = finding.run, finding.thread
    match finding.defect:
        case Defect.GROUP_MISSING:
            await ensure_group(services.redis)
        case Defect.ENTRY_RUBBISH if finding.entry:
            await answered(services.redis, [Bell(finding.entry, None)])
        case Defect.RUN_NOT_RUNG if run and thread:
            await _ring(services, run, thread)
        case Defect.RUN_ABANDONED if run and thread:
            async with services.db.locking(Own.UPKEEP) as db:
                db.add(_LOCK(thread=thread))
                await db.all(_SET_FREE(run=run))
            await _ring(services, run, thread)
        case Defect.THREAD_STUCK if thread:
            async with services.db.locking(Own.UPKEEP) as db:
                db.add(_LOCK(thread=thread))
                following = await db.one(_NEXT(thread=thread))
            if following:
                await _ring(services, following, thread)
        case Defect.THREAD_CROWDED if thread:
            async with services.db.locking(Own.UPKEEP) as db:
                db.add(_LOCK(thread=thread))
                await db.all(_LET_WAIT(thread=thread))
        case Defect.CANCEL_STUCK if run:
            await close_run(services, run)
        case Defect.STREAM_AHEAD if thread:
            await discard(services.redis, thread)
        case _:
            return
    log.info("mended", defect=finding.defect, subject=finding.subject)


async def _ring(services: Services, run: UUID, thread: UUID) -> None:
    await ensure_group(services.redis)
    await ring(services.redis, [Ring(run, thread)])
