"""Claims: SQL picks the run, raises the thread's fence and stores the start row, all at once.

Picking and everything that follows hold the thread's row; `SKIP LOCKED` keeps claimers out of each
other's way, so a claim may find nothing although something waits: toolsvc rings again for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from ag_ui.core import PROTOCOL_VERSION

from shared.chain import extend, sealed
from shared.db.direct import Transaction
from shared.db.line import Statement
from shared.db.path import PATH, path_of
from shared.protocol.record import (
    ClaimedRun,
    ClaimRequest,
    Continued,
    Decision,
    ForeignRow,
    SpanRecord,
    StepRecord,
)
from toolsvc.runs.deaths import POISONED, set_aside
from toolsvc.runs.past import look_at_past
from toolsvc.runs.pick import ALONE, NEXT, RESCUE, TO_CLOSE, TO_CLOSE_POISONED, ClaimRow
from toolsvc.runs.resumed import Earlier, look_back

#: A conversation longer than this is given to the model without its oldest messages.
HISTORY_LIMIT = 1000

# One statement: the claim stands or falls as a whole, in one round trip.
_TAKE = Statement("""
    WITH thread AS (
        UPDATE threads SET fence = :fence, settled = :settled, last_fence = :last_fence,
            last_seq = :last_seq, chain = :chain, head = :head, committed_at = now()
        WHERE id = :thread
    ), run AS (
        UPDATE runs SET status = 'running', runner_id = :runner, fence = :fence, commits = 0,
            commit_digest = NULL, claimed_at = now(), base = :base,
            deaths = :deaths, lone_until = NULL,
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


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed run as SQL has it; the answer to the runner is made of it."""

    row: ClaimRow
    fence: int
    starts: list[ForeignRow]
    history: list[dict[str, Any]]
    journal: list[StepRecord]
    brackets: list[str]
    cut_off: list[SpanRecord] = field(default_factory=list)
    continued: Continued | None = None
    snapshot: str | None = None
    decisions: list[Decision] = field(default_factory=list)

    @property
    def first(self) -> bool:
        """Whether nobody carried this run before."""
        return self.row.first_fence is None

    @property
    def rescued(self) -> bool:
        """Whether another process carried it and died."""
        return not self.first


@dataclass(frozen=True, slots=True)
class Found:
    """What a runner that asks for work gets."""

    claim: Claim | None = None
    #: A run that it shall start a process for.
    suspect: ClaimRow | None = None
    #: Where a carrier of that run died, if this is the first to tell.
    died: str | None = None


async def claim_next(db: Transaction, request: ClaimRequest, *, may_judge: bool) -> Found:
    """The run whose turn it is, or the stranded one that the hint names; ends the transaction.

    The stranded one goes first, for its entry is consumed by this very request. One that is suspect
    is only counted, and kept for the process that this runner may start.
    """
    row = await db.one(NEXT(runner=request.runner))
    aside = None
    if request.hint and may_judge and (row is None or row.id != request.hint):
        stranded = await db.one(RESCUE(runner=request.runner, run=request.hint))
        if stranded and stranded.suspect:
            aside = stranded
        else:
            row = stranded or row
    if aside:
        lone = request.lone if aside.deaths < POISONED else None
        db.add(set_aside(aside.id, deaths=aside.deaths, lone=lone, starter=request.runner))
    claim = await _take(db, row, request.runner) if row else None
    if aside is None:
        return Found(claim)
    return Found(claim, suspect=aside if lone else None, died=aside.mourned)


async def claim_alone(db: Transaction, request: ClaimRequest) -> Claim | None:
    """The suspect run that the asking process was started for."""
    row = await db.one(ALONE(runner=request.runner, run=request.hint))
    if row is None or row.deaths >= POISONED:
        return None
    return await _take(db, row, request.runner)


async def claim_poisoned(db: Transaction, run: UUID, closer: str) -> Claim | None:
    """A run that has killed all its carriers; `None` when somebody else closes it just now."""
    row = await db.one(TO_CLOSE_POISONED(run=run, closer=closer))
    if row is None or row.deaths < POISONED:
        return None
    return await _take(db, row, closer)


async def claim_to_close(db: Transaction, run: UUID, closer: str) -> Claim | None:
    """A run that is carried, by whomever; `None` when it is over or was never begun."""
    row = await db.one(TO_CLOSE(run=run))
    return await _take(db, row, closer) if row else None


async def _take(db: Transaction, row: ClaimRow, owner: str) -> Claim:
    """Take the run and read what its carrier needs, in one round trip."""
    fence = row.fence + 1
    first = row.first_fence is None
    said = _newly_said(row)
    start = _run_started(row, said) if first else _resumed(fence)
    stored = sealed(fence, 1, 1, start["type"], orjson.dumps(start).decode())
    db.add(_TAKE(**_parameters(row, owner, stored, [m["id"] for m in said])))
    leaf = base_of(row)
    path = db.add(PATH(thread=row.thread_id, leaf=leaf, limit=HISTORY_LIMIT)) if leaf else None
    past = None if first and not row.resumes else look_at_past(db, run=row.id, root=row.root_id)
    earlier = look_back_for(db, row)
    await db.commit()
    history = path_of(path.rows, HISTORY_LIMIT).messages if path else []
    if past is None:
        mine = ForeignRow(fence, 1, stored.type, stored.data)
        return Claim(row, fence, [mine], history, [], [])
    return Claim(
        row,
        fence,
        past.starts.rows,
        history,
        past.journal.rows,
        past.brackets.rows,
        cut_off=past.cut_off.rows,
        continued=earlier.read() if earlier else None,
        snapshot=past.snapshot.row,
        decisions=past.decisions.rows,
    )


def _newly_said(row: ClaimRow) -> list[dict[str, Any]]:
    """What the person says with this run; a resume has the root's messages, which were said."""
    return [] if row.resumes else row.input.get("messages", [])


def base_of(row: ClaimRow) -> str | None:
    """The leaf of what was said before the root run; known from its first claim on."""
    return row.head if row.first_fence is None and not row.resumes else row.base


def look_back_for(db: Transaction, row: ClaimRow) -> Earlier | None:
    """Ask what the runs before have left, if this one resumes them."""
    if row.resumes is None:
        return None
    return look_back(
        db,
        thread=row.thread_id,
        root=row.root_id,
        run=row.id,
        resumes=row.resumes,
        head=row.head,
        limit=HISTORY_LIMIT,
    )


def _parameters(row: ClaimRow, owner: str, start: Any, children: Sequence[str]) -> dict[str, Any]:
    first = row.first_fence is None
    hashed = extend(row.chain, [start])[0].hash if first else None
    return {
        "thread": row.thread_id,
        "run": row.id,
        "runner": owner,
        "deaths": row.deaths,
        "fence": start.fence,
        # A run's first claim settles its fence: the finish before it has committed everything.
        "settled": start.fence if first else row.settled,
        "last_fence": start.fence if first else row.last_fence,
        "last_seq": 1 if first else row.last_seq,
        "chain": hashed if first else row.chain,
        "head": children[-1] if first and children else row.head,
        "base": base_of(row),
        "children": list(children) if first else [],
        "parents": [row.head, *children[:-1]] if first and children else [],
        "type": start.type,
        "data": start.data,
        "salt": start.salt,
        "digest": start.digest,
        "hash": hashed,
    }


def _run_started(row: ClaimRow, said: list[dict[str, Any]]) -> dict[str, Any]:
    """RUN_STARTED echoes only the new messages: this is how other tabs learn them."""
    parent = {"parentRunId": row.resumes} if row.resumes else {}
    return {
        "type": "RUN_STARTED",
        "threadId": row.thread_public_id,
        "runId": row.public_id,
        **parent,
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


def answer_of(claim: Claim, *, token: str, expires: int) -> ClaimedRun:
    """What its carrier is told.

    Raises:
        TypeError, ValueError: somebody has altered what was said, by hand.
    """
    row = claim.row
    said = dict(row.input)
    messages = said.pop("messages", [])
    if not all(isinstance(one, dict) for one in (*claim.history, *messages)):
        raise TypeError("a message is no object")
    return ClaimedRun.model_construct(
        run=row.id,
        root=row.root_id,
        thread=row.thread_id,
        user=row.user_id,
        project=row.project_id,
        run_id=row.public_id,
        thread_id=row.thread_public_id,
        agent=row.agent,
        agent_digest=row.agent_digest,
        fence=claim.fence,
        starts=claim.starts,
        sql_last=(row.last_fence, row.last_seq),
        history=claim.history,
        messages=messages,
        input=said,
        continued=claim.continued,
        journal=claim.journal,
        snapshot=claim.snapshot,
        decisions=claim.decisions,
        brackets=claim.brackets,
        cut_off=claim.cut_off,
        cancelled=row.cancelled,
        token=token,
        token_expires=expires,
    )
