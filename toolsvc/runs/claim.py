"""Claims: SQL picks the run, raises the thread's fence and stores the start row, all at once.

Picking and everything that follows hold the thread's row; `SKIP LOCKED` keeps claimers out of each
other's way, so a claim may find nothing although something waits: toolsvc rings again for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from ag_ui.core import PROTOCOL_VERSION
from sqlalchemy import Row as SqlRow
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.path import read_path
from shared.protocol.brackets import BRACKETS
from shared.protocol.record import ClaimRequest, ForeignRow, StepRecord
from toolsvc.runs.chain import extend, sealed

#: A conversation longer than this is given to the model without its oldest messages.
HISTORY_LIMIT = 1000

_COLUMNS = """
    runs.id, runs.public_id, runs.user_id, runs.thread_id, runs.root_id, runs.agent, runs.status,
    runs.base, runs.message_id, runs.input, runs.project_id, runs.first_fence,
    runs.cancel_requested_at IS NOT NULL AS cancelled,
    threads.public_id AS thread_public_id, threads.fence, threads.settled,
    threads.last_fence, threads.last_seq, threads.chain, threads.head
    FROM runs JOIN threads ON threads.id = runs.thread_id
"""

# Uses the index runs_waiting; only agents that the asking runner has announced count, but anybody
# can end a cancelled run.
_NEXT = text(f"""
    SELECT {_COLUMNS}
    JOIN runners ON runners.id = :runner AND runners.lease_until > now()
    WHERE runs.status = 'queued' AND runs.ready AND (
        jsonb_exists(CAST(runners.agents AS jsonb), runs.agent)
        OR runs.cancel_requested_at IS NOT NULL
    )
    ORDER BY runs.priority, runs.turn, runs.id
    LIMIT 1 FOR UPDATE OF runs, threads SKIP LOCKED
""")

# Whoever takes a run over serves its agent; to end a cancelled one nobody needs the agent.
_STRANDED = text(f"""
    SELECT {_COLUMNS}
    JOIN runners AS asking ON asking.id = :runner AND asking.lease_until > now()
    WHERE runs.id = :run AND runs.status = 'running' AND NOT EXISTS (
        SELECT FROM runners WHERE runners.id = runs.runner_id AND runners.lease_until > now()
    ) AND (
        jsonb_exists(CAST(asking.agents AS jsonb), runs.agent)
        OR runs.cancel_requested_at IS NOT NULL
    ) FOR UPDATE OF runs, threads SKIP LOCKED
""")  # noqa: S608

_TO_CLOSE = text(f"""
    SELECT {_COLUMNS}
    WHERE runs.id = :run AND runs.status = 'running' FOR UPDATE OF threads, runs
""")

# One statement: the claim stands or falls as a whole, in one round trip.
_TAKE = text("""
    WITH thread AS (
        UPDATE threads SET fence = :fence, settled = :settled, last_fence = :last_fence,
            last_seq = :last_seq, chain = :chain, head = :head, committed_at = now()
        WHERE id = :thread
    ), run AS (
        UPDATE runs SET status = 'running', runner_id = :runner, fence = :fence, commits = 0,
            commit_digest = NULL, claimed_at = now(), base = :base,
            first_fence = COALESCE(first_fence, :fence), started_at = COALESCE(started_at, now()),
            agent_digest = COALESCE(agent_digest, (
                SELECT CAST(runners.agents AS jsonb) -> runs.agent ->> 'digest'
                FROM runners WHERE runners.id = :runner
            ))
        WHERE id = :run
    ), linked AS (
        UPDATE messages SET parent = links.parent
        FROM unnest(CAST(:children AS text[]), CAST(:parents AS text[])) AS links (id, parent)
        WHERE messages.thread_id = :thread AND messages.id = links.id
    )
    INSERT INTO events (thread_id, fence, seq, seq_to, run_id, type, data, salt, digest, hash)
    VALUES (:thread, :fence, 1, 1, :run, :type, :data, :salt, :digest, :hash)
""")

_STARTS = text("""
    SELECT fence, seq, type, data FROM events
    WHERE run_id = :run AND seq = 1 AND type IN ('RUN_STARTED', 'CUSTOM') ORDER BY fence
""")
_JOURNAL = text("""
    SELECT scope, kind, place, digest, record FROM steps WHERE root_id = :root ORDER BY ordinal
""")
# What was under way when the predecessor died will not end any more.
_CLOSE_SPANS = text("""
    UPDATE spans SET ended_at = now(), error = '{"message": "taken_over"}'
    WHERE root_id = :root AND ended_at IS NULL
""")
_BRACKETS = text("""
    SELECT data FROM events WHERE run_id = :run AND type = ANY(:types) AND hash IS NOT NULL
    ORDER BY fence, seq
""")


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed run as SQL has it; the answer to the runner is made of it."""

    row: SqlRow[Any]
    fence: int
    starts: list[ForeignRow]
    history: list[dict[str, Any]]
    journal: list[StepRecord]
    brackets: list[str]

    @property
    def first(self) -> bool:
        """Whether nobody carried this run before."""
        return self.row.first_fence is None

    @property
    def rescued(self) -> bool:
        """Whether another process carried it and died."""
        return not self.first


async def claim_next(
    db: AsyncConnection, request: ClaimRequest, *, may_judge: bool
) -> Claim | None:
    """The run whose turn it is, or the stranded one that the hint names.

    The stranded one goes first, for its entry is consumed by this very request.
    """
    row = (await db.execute(_NEXT, {"runner": request.runner})).one_or_none()
    if request.hint and may_judge and (row is None or row.id != request.hint):
        asked = {"runner": request.runner, "run": request.hint}
        stranded = (await db.execute(_STRANDED, asked)).one_or_none()
        row = stranded or row
    return await _take(db, row, request.runner) if row else None


async def claim_to_close(db: AsyncConnection, run: UUID, closer: str) -> Claim | None:
    """A run that is carried, by whomever; `None` when it is over or was never begun."""
    row = (await db.execute(_TO_CLOSE, {"run": run})).one_or_none()
    return await _take(db, row, closer) if row else None


async def _take(db: AsyncConnection, row: SqlRow[Any], owner: str) -> Claim:
    fence = row.fence + 1
    first = row.first_fence is None
    said = row.input.get("messages", [])
    start = _run_started(row, said) if first else _resumed(fence)
    stored = sealed(fence, 1, 1, start["type"], orjson.dumps(start).decode())
    await db.execute(_TAKE, _parameters(row, owner, stored, [m["id"] for m in said]))
    history = await read_path(db, row.thread_id, row.head if first else row.base, HISTORY_LIMIT)
    mine = ForeignRow(fence, 1, stored.type, stored.data)
    if first:
        return Claim(row, fence, [mine], history.messages, [], [])
    await db.execute(_CLOSE_SPANS, {"root": row.root_id})
    return Claim(
        row,
        fence,
        [ForeignRow(*start) for start in await db.execute(_STARTS, {"run": row.id})],
        history.messages,
        [
            StepRecord.model_construct(**step._asdict())
            for step in await db.execute(_JOURNAL, {"root": row.root_id})
        ],
        [
            found.data
            for found in await db.execute(_BRACKETS, {"run": row.id, "types": sorted(BRACKETS)})
        ],
    )


def _parameters(
    row: SqlRow[Any], owner: str, start: Any, children: Sequence[str]
) -> dict[str, Any]:
    first = row.first_fence is None
    hashed = extend(row.chain, [start])[0].hash if first else None
    return {
        "thread": row.thread_id,
        "run": row.id,
        "runner": owner,
        "fence": start.fence,
        # A run's first claim settles its fence: the finish before it has committed everything.
        "settled": start.fence if first else row.settled,
        "last_fence": start.fence if first else row.last_fence,
        "last_seq": 1 if first else row.last_seq,
        "chain": hashed if first else row.chain,
        "head": children[-1] if first and children else row.head,
        "base": row.head if first else row.base,
        "children": list(children) if first else [],
        "parents": [row.head, *children[:-1]] if first and children else [],
        "type": start.type,
        "data": start.data,
        "salt": start.salt,
        "digest": start.digest,
        "hash": hashed,
    }


def _run_started(row: SqlRow[Any], said: list[dict[str, Any]]) -> dict[str, Any]:
    """RUN_STARTED echoes only the new messages: this is how other tabs learn them."""
    return {
        "type": "RUN_STARTED",
        "threadId": row.thread_public_id,
        "runId": row.public_id,
        "protocolVersion": PROTOCOL_VERSION,
        "input": {
            "threadId": row.thread_public_id,
            "runId": row.public_id,
            "messages": said,
            "tools": [],
            "context": [],
        },
    }


def _resumed(fence: int) -> dict[str, Any]:
    return {"type": "CUSTOM", "name": "baton.resumed", "value": {"fence": fence}}
