"""Deaths of carriers, counted per run since its last committed step.

A death is a run whose runner's lease ended without a word. Twice dead, a run is *suspect*: it goes
only to a process of its own, which a runner starts for it. Dead there twice as well, it is
*poisoned*, and closed. What shared a process with it may become suspect too, and ends well alone.
"""

from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.conversations import SUSPECT
from shared.db.line import Command, Statement
from shared.protocol.record import Death

#: So many deaths, and a run is closed: the last two of them alone, so that it was the cause.
POISONED = SUSPECT + 2
#: A process imports itself in some seconds; meanwhile nobody else starts one for the same run.
STARTING_S = 20

#: Conditions on `runs`: its carrier's lease lives; that has ended without a word. toolsvc's leases
#: (without agents) are no carriers' of agent code, and a lease given back has no runs any more.
LIVES = """EXISTS (
    SELECT FROM runners WHERE runners.id = runs.runner_id AND runners.lease_until > now()
)"""
DIED = """EXISTS (
    SELECT FROM runners WHERE runners.id = runs.runner_id AND runners.lease_until <= now()
        AND runners.agents IS NOT NULL
)"""
#: No process is being started for it.
UNASKED = "(runs.lone_until IS NULL OR runs.lone_until < now())"
#: Nobody carries it, and nobody is about to.
STRANDED = f"(runs.status = 'running' AND NOT {LIVES} AND {UNASKED})"
#: A poisoned run that is tried again begins alone.
QUEUED_SUSPECT = (
    f"(runs.status = 'queued' AND runs.ready AND runs.deaths >= {SUSPECT} AND {UNASKED})"
)

_SET_ASIDE = Statement("""
    UPDATE runs SET deaths = :deaths, runner_id = NULL,
        lone_id = COALESCE(CAST(:lone AS text), lone_id),
        lone_until = CASE WHEN CAST(:lone AS text) IS NULL THEN lone_until
            ELSE now() + make_interval(secs => :starting) END
    WHERE id = :run
""")

# It may come late, when the lease has told the same: then it only brings the words.
_REPORT = text("""
    WITH dead AS (
        UPDATE runners SET lease_until = LEAST(lease_until, now()), carried = 0
        WHERE id = :lone AND secret = :secret RETURNING id
    )
    UPDATE runs SET last_words = CAST(:words AS json),
        deaths = runs.deaths + CASE WHEN runs.runner_id = dead.id THEN 1 ELSE 0 END,
        runner_id = NULLIF(runs.runner_id, dead.id),
        lone_until = NULL
    FROM dead, runs AS before
    WHERE runs.id = :run AND before.id = runs.id AND runs.lone_id = dead.id
        AND (runs.status IN ('queued', 'running') OR runs.error_code = 'poisoned')
    RETURNING runs.thread_id, before.runner_id = dead.id AS counted
""")


def where_died(deaths: int) -> str:
    """Where the last of so many died; a label of `DEATHS`."""
    return "alone" if deaths > SUSPECT else "shared"


def set_aside(run: UUID, *, deaths: int, lone: str | None) -> Command[Any]:
    """Count a suspect run's death; keep it for process `lone`, which is being started."""
    return _SET_ASIDE(run=run, deaths=deaths, lone=lone, starting=STARTING_S)


async def report(db: AsyncConnection, run: UUID, death: Death, secret: bytes | None) -> Any:
    """Keep how a lone process died, and count it unless that has been done.

    The answer is a row of `thread_id` and `counted`; `None` where the run has gone on without it,
    or `secret` is not the one that this process showed.
    """
    words = {"status": death.status, "lines": death.lines, "process": death.lone}
    values = {"run": run, "lone": death.lone, "secret": secret}
    found = await db.execute(_REPORT, values | {"words": orjson.dumps(words).decode()})
    return found.one_or_none()
