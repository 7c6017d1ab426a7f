"""Picking the run of a claim: one statement for each reason why somebody may take it.

Each locks the run and its thread, and answers with both as they stand.
"""

from typing import Any, NamedTuple
from uuid import UUID

from shared.db.conversations import SUSPECT
from shared.db.line import Statement
from toolsvc.runs.code import SERVES, fits
from toolsvc.runs.deaths import (
    DIED,
    LIVES,
    QUEUED_POISONED,
    QUEUED_SUSPECT,
    STRANDED,
    where_died,
)


class ClaimRow(NamedTuple):
    """A run and its thread just before the claim, both locked."""

    id: UUID
    public_id: str
    user_id: UUID
    thread_id: UUID
    root_id: UUID
    resumes: str | None
    agent: str
    agent_digest: str | None
    status: str
    base: str | None
    message_id: str | None
    input: Any
    project_id: UUID | None
    first_fence: int | None
    cancelled: bool
    thread_public_id: str
    fence: int
    settled: int
    last_fence: int
    last_seq: int
    chain: bytes | None
    head: str | None
    #: Deaths of its carriers that are counted, and whether there is one more.
    deaths_before: int
    died: bool
    #: What the carrier says of the agent's tools; `None`: its runs may call all.
    tools: list[str] | None

    @property
    def deaths(self) -> int:
        """Deaths of its carriers since its last committed step."""
        return self.deaths_before + self.died

    @property
    def mourned(self) -> str | None:
        """Where a carrier died whose death this claim is the first to tell."""
        return where_died(self.deaths) if self.died else None

    @property
    def suspect(self) -> bool:
        """Whether it has to be carried alone; to end a cancelled one, none of its code runs."""
        return self.deaths >= SUSPECT and not self.cancelled


_COLUMNS = """
    runs.id, runs.public_id, runs.user_id, runs.thread_id, runs.root_id, runs.resumes,
    runs.agent, runs.agent_digest, runs.status,
    runs.base, runs.message_id, runs.input, runs.project_id, runs.first_fence,
    runs.cancel_requested_at IS NOT NULL AS cancelled,
    threads.public_id AS thread_public_id, threads.fence, threads.settled,
    threads.last_fence, threads.last_seq, threads.chain, threads.head, runs.deaths
"""
# The newest rules of an agent count, also for a run that began before them.
_TOOLS = "CAST({0}.agents AS jsonb) -> runs.agent -> 'tools' AS tools"
_FROM = "FROM runs JOIN threads ON threads.id = runs.thread_id"

# Uses the index runs_waiting; only agents that the asking runner has announced count, but anybody
# can end a cancelled run.
NEXT = Statement(
    f"""
    SELECT {_COLUMNS}, false, {_TOOLS.format("runners")} {_FROM}
    JOIN runners ON runners.id = :runner AND runners.lease_until > now()
    WHERE runs.status = 'queued' AND runs.ready AND (
        runs.deaths < {SUSPECT} AND {SERVES.format("runners")} AND {fits("runners")}
        OR runs.cancel_requested_at IS NOT NULL
    )
    ORDER BY runs.priority, runs.turn, runs.id
    LIMIT 1 FOR UPDATE OF runs, threads SKIP LOCKED
    """,
    ClaimRow._make,
)

# Whoever takes a run over serves its agent; to end a cancelled one nobody needs the agent. What is
# suspect is found too, to be set aside.
RESCUE = Statement(
    f"""
    SELECT {_COLUMNS}, {DIED}, {_TOOLS.format("asking")} {_FROM}
    JOIN runners AS asking ON asking.id = :runner AND asking.lease_until > now()
    WHERE runs.id = :run AND ({STRANDED} OR {QUEUED_SUSPECT}) AND (
        {SERVES.format("asking")} AND {fits("asking")}
        OR runs.cancel_requested_at IS NOT NULL
    ) FOR UPDATE OF runs, threads SKIP LOCKED
    """,
    ClaimRow._make,
)

# To the one process that was started for it; also when the answer to its claim was lost.
ALONE = Statement(
    f"""
    SELECT {_COLUMNS}, {DIED}, {_TOOLS.format("asking")} {_FROM}
    JOIN runners AS asking ON asking.id = :runner AND asking.lease_until > now()
    WHERE runs.id = :run AND runs.status IN ('queued', 'running') AND runs.lone_id = :runner
        AND (runs.runner_id = :runner OR NOT {LIVES})
    FOR UPDATE OF runs, threads SKIP LOCKED
    """,
    ClaimRow._make,
)

# For toolsvc itself, which closes it; also where its first try failed.
TO_CLOSE_POISONED = Statement(
    f"""
    SELECT {_COLUMNS}, {DIED}, NULL {_FROM}
    WHERE runs.id = :run AND ({STRANDED} OR {QUEUED_POISONED}
        OR runs.status = 'running' AND runs.runner_id = :closer)
    FOR UPDATE OF threads, runs SKIP LOCKED
    """,
    ClaimRow._make,
)

TO_CLOSE = Statement(
    f"""
    SELECT {_COLUMNS}, false, NULL {_FROM}
    WHERE runs.id = :run AND runs.status = 'running' FOR UPDATE OF threads, runs
    """,
    ClaimRow._make,
)

# Nobody takes these: they go on, or may be gone on with, and have finished steps to replay.
_UNDER_WAY = f"""
    {_FROM} WHERE EXISTS (SELECT FROM steps WHERE steps.root_id = runs.root_id) AND (
        runs.status IN ('running', 'queued')
        OR (runs.status = 'interrupted' AND NOT EXISTS (
                SELECT FROM interrupts WHERE interrupts.root_id = runs.root_id
                    AND interrupts.run_id = runs.id AND interrupts.status = 'superseded'
            ) OR runs.error_code IN ('poisoned', 'tool_outcome_unknown')
        ) AND NOT EXISTS (
            SELECT FROM runs AS later
            WHERE later.user_id = runs.user_id AND later.resumes = runs.public_id
        )
    )
"""  # noqa: S608
UNDER_WAY = Statement(
    f"SELECT runs.id {_UNDER_WAY} ORDER BY runs.id", lambda columns: UUID(str(columns[0]))
)
LOOK = Statement(
    f"SELECT {_COLUMNS}, false, NULL {_UNDER_WAY} AND runs.id = :run",
    ClaimRow._make,
)
