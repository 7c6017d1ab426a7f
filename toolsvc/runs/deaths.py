"""Deaths of carriers, counted per run since its last committed step.

A death is a run whose runner's lease ended without a word. Twice dead, a run is *suspect*: it goes
only to a process of its own, which a runner starts for it. Dead there twice as well, also while it
started, it is *poisoned*, and closed. What shared a process with it may become suspect too, and
ends well alone.
"""

from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.conversations import SUSPECT
from shared.db.line import Command, Statement
from shared.protocol.record import LONE_STARTS_WITHIN_S, Death

#: So many deaths, and a run is closed: the last two of them alone, so that it was the cause.
POISONED = SUSPECT + 2

#: Conditions on `runs`: its carrier's lease lives; that has ended without a word. toolsvc's leases
#: (without agents) are no carriers' of agent code, and a lease given back has no runs any more.
LIVES = """EXISTS (
    SELECT FROM runners WHERE runners.id = runs.runner_id AND runners.lease_until > now()
)"""
DIED = """EXISTS (
    SELECT FROM runners WHERE runners.id = runs.runner_id AND runners.lease_until <= now()
        AND runners.agents IS NOT NULL
)"""
#: No process is being started for it, or whoever should start it has died.
UNASKED = """(runs.lone_until IS NULL OR runs.lone_until < now() OR EXISTS (
    SELECT FROM runners WHERE runners.id = runs.lone_starter AND runners.lease_until <= now()
))"""
#: Nobody carries it, and nobody is about to.
STRANDED = f"(runs.status = 'running' AND NOT {LIVES} AND {UNASKED})"
#: A poisoned run that is tried again begins alone.
QUEUED_SUSPECT = (
    f"(runs.status = 'queued' AND runs.ready AND runs.deaths >= {SUSPECT} AND {UNASKED})"
)
#: Every process that was started for it died before it could claim; a cancelled one needs none.
QUEUED_POISONED = f"""(
    runs.status = 'queued' AND runs.ready AND runs.deaths >= {POISONED}
    AND runs.cancel_requested_at IS NULL
)"""

#: How a process ends that somebody else tells to before it can do so in good order.
_TOLD_TO_END = ["SIGHUP", "SIGINT", "SIGTERM"]

_SET_ASIDE = Statement("""
    UPDATE runs SET deaths = :deaths, runner_id = NULL,
        lone_id = COALESCE(CAST(:lone AS text), lone_id),
        lone_starter = CASE WHEN CAST(:lone AS text) IS NULL THEN lone_starter ELSE :starter END,
        lone_until = CASE WHEN CAST(:lone AS text) IS NULL THEN lone_until
            ELSE now() + make_interval(secs => :starting) END
    WHERE id = :run
""")

# It may come late, when the lease has told the same: then it only brings the words. A process that
# is still waited for (`lone_until`) died before its claim; one that never announced itself has no
# row, and only who started it knows its id.
_REPORT = text("""
    WITH dead AS (
        UPDATE runners SET lease_until = LEAST(lease_until, now()), carried = 0
        WHERE id = :lone AND secret = :secret RETURNING id
    ), told AS (
        SELECT runs.id, runs.runner_id IS NOT DISTINCT FROM :lone
            OR runs.lone_until IS NOT NULL AND NOT CAST(:told_to_end AS boolean) AS counted
        FROM runs WHERE runs.id = :run AND runs.lone_id = :lone
            AND (runs.status IN ('queued', 'running') OR runs.error_code = 'poisoned')
            AND (EXISTS (SELECT FROM dead) OR NOT EXISTS (SELECT FROM runners WHERE id = :lone))
        FOR UPDATE
    ), kept AS (
        UPDATE runs SET last_words = CASE WHEN told.counted OR NOT CAST(:told_to_end AS boolean)
                THEN CAST(:words AS json) ELSE runs.last_words END,
            deaths = runs.deaths + CASE WHEN told.counted THEN 1 ELSE 0 END,
            runner_id = NULLIF(runs.runner_id, :lone),
            lone_until = NULL
        FROM told WHERE runs.id = told.id
    )
    SELECT runs.public_id, runs.thread_id, threads.public_id AS thread_public_id,
        COALESCE(told.counted, false) AS counted
    FROM runs JOIN threads ON threads.id = runs.thread_id LEFT JOIN told ON told.id = runs.id
    WHERE runs.id = :run
""")


def where_died(deaths: int) -> str:
    """Where the last of so many died; a label of `DEATHS`."""
    return "alone" if deaths > SUSPECT else "shared"


def set_aside(run: UUID, *, deaths: int, lone: str | None, starter: str) -> Command[Any]:
    """Count a suspect run's death; keep it for process `lone`, which `starter` is starting."""
    return _SET_ASIDE(
        run=run, deaths=deaths, lone=lone, starter=starter, starting=LONE_STARTS_WITHIN_S
    )


async def report(db: AsyncConnection, run: UUID, death: Death, secret: bytes | None) -> Any:
    """Keep how a lone process died, and count it unless that has been done, or it was told to end.

    The answer is a row of the run's names and `counted`, which is also false where the run has gone
    on without it, or `secret` is not the one that this process showed; `None` if there is no such
    run.
    """
    words = {"status": death.status, "lines": death.lines, "process": death.lone}
    values = {
        "run": run,
        "lone": death.lone,
        "secret": secret,
        "told_to_end": death.told_to_end or death.status in _TOLD_TO_END,
        "words": orjson.dumps(words).decode(),
    }
    return (await db.execute(_REPORT, values)).one_or_none()
