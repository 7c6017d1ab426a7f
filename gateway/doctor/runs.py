"""What can be wrong with runs, as SQL has them: nobody carries them, nobody is next, no end."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.doctor.finding import Defect, Finding
from shared.db.conversations import SUSPECT
from shared.protocol.record import LONE_PREFIX

#: What toolsvc and runners do by themselves takes some seconds; after so many they did not.
PATIENCE_S = 15
#: A look at the newest runs; whoever wants all has docs/data.md.
NEWEST = 1000

# A runner that may carry it: it serves the agent, and has the run's code or does not insist on it.
_SERVED = f"""
    EXISTS (
        SELECT FROM runners WHERE lease_until > now() AND agents IS NOT NULL
            AND NOT starts_with(runners.id, '{LONE_PREFIX}') AND (
                jsonb_exists(CAST(agents AS jsonb), runs.agent) AND (
                    runs.agent_digest IS NULL OR NOT runners.same_code
                    OR CAST(agents AS jsonb) -> runs.agent ->> 'digest' = runs.agent_digest
                    OR runs.agent_digest = ANY(runners.former)
                )
                OR runs.cancel_requested_at IS NOT NULL
            )
    )
"""
# For others than these no entry is needed: one that needs its code, or is suspect, is offered to
# the very runner that shall carry it, and may have to wait for it.
_RUNG_FOR = f"runs.agent_digest IS NULL AND runs.deaths < {SUSPECT}"
WAITING = text(f"""
    SELECT runs.id, runs.public_id, runs.thread_id, runs.agent,
        EXTRACT(epoch FROM now() - runs.created_at) AS age_s, {_SERVED} AS served,
        {_SERVED} AND {_RUNG_FOR} AS rung
    FROM runs JOIN threads ON threads.id = runs.thread_id
    WHERE runs.status = 'queued' AND runs.ready ORDER BY runs.priority, runs.turn, runs.id
""")  # noqa: S608
_ABANDONED = text(f"""
    SELECT runs.id, runs.public_id, runs.thread_id, runs.runner_id FROM runs
    LEFT JOIN runners ON runners.id = runs.runner_id
    WHERE runs.status = 'running' AND {_SERVED}
        AND (runs.deaths < {SUSPECT} OR runs.cancel_requested_at IS NOT NULL)
        AND runs.claimed_at < now() - make_interval(secs => :patience)
        AND COALESCE(runners.lease_until, '-infinity') < now() - make_interval(secs => :patience)
""")  # noqa: S608
_STUCK = text("""
    SELECT threads.id, threads.public_id, count(*) AS runs
    FROM runs JOIN threads ON threads.id = runs.thread_id
    WHERE runs.status = 'queued' AND NOT EXISTS (
        SELECT FROM runs AS first WHERE first.thread_id = runs.thread_id
            AND (first.status = 'running' OR first.status = 'queued' AND first.ready)
    ) AND NOT EXISTS (
        SELECT FROM interrupts
        WHERE interrupts.thread_id = runs.thread_id AND interrupts.status = 'open'
    ) GROUP BY threads.id, threads.public_id
""")
_CROWDED = text("""
    SELECT threads.id, threads.public_id, count(*) AS runs
    FROM runs JOIN threads ON threads.id = runs.thread_id
    WHERE runs.status = 'running' OR runs.status = 'queued' AND runs.ready
    GROUP BY threads.id, threads.public_id HAVING count(*) > 1
""")
_NOT_CANCELLED = text("""
    SELECT id, public_id, thread_id, EXTRACT(epoch FROM now() - cancel_requested_at) AS age_s
    FROM runs WHERE status = 'running'
        AND cancel_requested_at < now() - make_interval(secs => :patience)
""")
# Of runs whose events retention has not deleted. An older receipt tells that there is a key.
_ENDED = text("""
    SELECT runs.id, runs.public_id, runs.thread_id, runs.status,
        COALESCE(heads.fence >= runs.first_fence, false) OR EXISTS (
            SELECT FROM events WHERE events.run_id = runs.id
                AND events.type IN ('RUN_FINISHED', 'RUN_ERROR')
        ) AS told,
        runs.receipt IS NOT NULL OR COALESCE(
            min(runs.ended_at) FILTER (WHERE runs.receipt IS NOT NULL) OVER () >= runs.ended_at,
            true
        ) AS proved
    FROM (
        SELECT * FROM runs ORDER BY id DESC LIMIT :newest
    ) AS runs LEFT JOIN heads ON heads.thread_id = runs.thread_id
    WHERE runs.ended_at IS NOT NULL AND runs.first_fence IS NOT NULL
""")
_EFFECTS = text("""
    SELECT effects.key, effects.tool, claimed.public_id AS run
    FROM effects LEFT JOIN runs AS claimed ON claimed.id = effects.run_id
    WHERE effects.status IN ('claimed', 'unknown') AND (
        effects.status = 'unknown'
        OR executor_until < now() - make_interval(secs => :patience)
    ) LIMIT :newest
""")


async def examine_runs(db: AsyncConnection) -> list[Finding]:
    """What SQL alone tells."""
    patience = {"patience": PATIENCE_S}
    found: list[Finding] = []
    found += _no_runners((await db.execute(WAITING)).all())
    for row in await db.execute(_ABANDONED, patience):
        why = f"its runner was {row.runner_id}" if row.runner_id else "it has no runner"
        found.append(_of_run(Defect.RUN_ABANDONED, row, why))
    for defect, query in ((Defect.THREAD_STUCK, _STUCK), (Defect.THREAD_CROWDED, _CROWDED)):
        for row in await db.execute(query):
            many = f"{row.runs} runs"
            found.append(Finding(defect=defect, subject=row.public_id, thread=row.id, detail=many))
    for row in await db.execute(_NOT_CANCELLED, patience):
        ago = f"cancelled {row.age_s:.0f} s ago"
        found.append(_of_run(Defect.CANCEL_STUCK, row, ago))
    for row in await db.execute(_ENDED, {"newest": NEWEST}):
        if not row.told:
            found.append(_of_run(Defect.END_MISSING, row, row.status))
        if not row.proved:
            found.append(_of_run(Defect.RECEIPT_MISSING, row, row.status))
    for row in await db.execute(_EFFECTS, patience | {"newest": NEWEST}):
        said = f"a call of {row.tool} in run {row.run}"
        found.append(Finding(defect=Defect.EFFECT_UNKNOWN, subject=row.key, detail=said))
    return found


def _no_runners(waiting: Any) -> Iterator[Finding]:
    unserved: dict[str, int] = {}
    for row in waiting:
        if not row.served and row.age_s > PATIENCE_S:
            unserved[row.agent] = unserved.get(row.agent, 0) + 1
    for agent, runs in unserved.items():
        yield Finding(defect=Defect.NO_RUNNER, subject=agent, detail=f"{runs} waiting")


def _of_run(defect: Defect, row: Any, detail: str) -> Finding:
    return Finding(
        defect=defect, subject=row.public_id, run=row.id, thread=row.thread_id, detail=detail
    )
