"""Commits: steps, the events since the last commit, spans, and perhaps the end, in one transaction.

The thread's row is locked and its fence compared first: a writer that was overtaken gets 409. A
commit that comes again, because its answer was lost, is recognised by its number and digest.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from shared.bus.doorbell import Ring
from shared.chain import StoredRow, extend, sealed
from shared.db.direct import Transaction
from shared.db.line import Statement
from shared.errors import BatonError, FencedError
from shared.protocol.codes import Code
from shared.protocol.record import Commit, End
from shared.signing import SigningKey
from toolsvc.runs.brought import (
    FINISH,
    SNAPSHOT,
    STORE,
    end_columns,
    event_columns,
    span_columns,
    step_columns,
)
from toolsvc.runs.receipt import PAST, Past, receipt_of
from toolsvc.runs.resumed import withdraw


class Locked(NamedTuple):
    """A run and its thread as they stand under the thread's lock."""

    fence: int
    settled: int
    last_fence: int
    last_seq: int
    chain: bytes | None
    head: str | None
    id: UUID
    root_id: UUID
    thread_id: UUID
    agent: str
    status: str
    run_fence: int | None
    commits: int
    commit_digest: bytes | None
    cancelled: bool


# The run's row is locked too: else it would be read as it was before the wait for the thread's, and
# a commit that comes twice at once would not be recognised.
_LOCK = Statement(
    """
    SELECT threads.fence, threads.settled, threads.last_fence, threads.last_seq, threads.chain,
        threads.head, runs.id, runs.root_id, runs.thread_id, runs.agent, runs.status,
        runs.fence AS run_fence, runs.commits, runs.commit_digest,
        runs.cancel_requested_at IS NOT NULL AS cancelled
    FROM runs JOIN threads ON threads.id = runs.thread_id
    WHERE runs.id = :run FOR UPDATE OF threads FOR NO KEY UPDATE OF runs
    """,
    Locked._make,
)

_UNHASHED = Statement(
    """
    SELECT fence, seq, seq_to, type, data, salt, digest FROM events
    WHERE thread_id = :thread AND fence > :settled AND hash IS NULL ORDER BY fence
    """,
    StoredRow._make,
)
_HASH = Statement("""
    UPDATE events SET hash = rows.hash
    FROM unnest(CAST(:fences AS bigint[]), CAST(:hashes AS bytea[])) AS rows (fence, hash)
    WHERE thread_id = :thread AND events.fence = rows.fence AND seq = 1
""")


class _Ending(NamedTuple):
    """What a receipt is made with."""

    past: Past
    key: SigningKey


@dataclass(frozen=True, slots=True)
class Committed:
    """What came of a commit: whether the run shall stop, and what to ring for next."""

    cancelled: bool
    repeated: bool
    agent: str
    next: Ring | None = None


async def apply_commit(
    db: Transaction, run: UUID, commit: Commit, digest: bytes, *, key: SigningKey | None
) -> Committed:
    """Store a commit, and end the transaction; `key` signs the receipt, if it ends the run.

    Raises:
        BatonError: `not_found`; `fenced` when another claim has the thread; `gap` when a commit
            before this one is missing; `conflict` when another commit stands under its number.
        IntegrityError, DataError: other content stands in its places; SQL cannot hold a value.
    """
    locked = db.add(_LOCK(run=run))
    # It begins when the statement before it has the lock, so it sees what that had to wait for.
    past = db.add(PAST(run=run)) if commit.end and key else None
    await db.run()
    row = locked.row
    if row is None:
        raise BatonError(Code.NOT_FOUND)
    if row.run_fence != commit.fence:
        raise FencedError(commit.fence)
    if commit.n == row.commits:
        return _repeat(row, digest)  # also when the thread's next run has been claimed since
    if row.fence != commit.fence or row.status != "running":
        raise FencedError(commit.fence)
    if commit.n != row.commits + 1:
        raise BatonError(Code.GAP, f"Commit {row.commits + 1} comes next, not {commit.n}.")
    ending = _Ending(past.row, key) if past and past.row and key else None
    following = await _store(db, row, commit, digest, ending)
    return Committed(row.cancelled, repeated=False, agent=row.agent, next=following)


def _repeat(row: Locked, digest: bytes) -> Committed:
    if row.commit_digest != digest:
        raise BatonError(Code.CONFLICT, "Another commit stands under this number.")
    return Committed(row.cancelled, repeated=True, agent=row.agent)


async def _store(
    db: Transaction, row: Locked, commit: Commit, digest: bytes, ending: _Ending | None
) -> Ring | None:
    """Store what it brings, and the end if it is one; then what to ring for next."""
    _check_order(row, commit)
    own = [sealed(commit.fence, *event) for event in commit.rows]
    settling = row.settled < commit.fence
    starts = await _unhashed_starts(db, row) if settling else []
    tail = [sealed(r.fence, r.seq, r.seq, r.type, r.data) for r in commit.tail or ()]
    known = {(start.fence, start.seq) for start in starts}
    if any(one[:2] in known for one in tail):
        raise BatonError(Code.CONFLICT, "The tail brings a start row, which is stored already.")
    older = sorted([*tail, *starts], key=lambda stored: stored[:2])
    chained = extend(row.chain, [*older, *own])
    new = [one for one in chained if one.row[:2] not in known]
    brought: dict[str, Any] = {
        "thread": row.thread_id,
        "run": row.id,
        "root": row.root_id,
        "fence": commit.fence,
        "n": commit.n,
        "commit_digest": digest,
        "last_seq": own[-1].seq_to if own else (1 if settling else row.last_seq),
        "chain": chained[-1].hash if chained else row.chain,
        **event_columns(new),
        **step_columns(commit),
        **span_columns(commit),
    }
    if starts:
        hashed = [one for one in chained if one.row[:2] in known]
        fences, hashes = [one.row.fence for one in hashed], [one.hash for one in hashed]
        db.add(_HASH(thread=row.thread_id, fences=fences, hashes=hashes))
    if commit.snapshot is not None:
        db.add(SNAPSHOT(root=row.root_id, fence=commit.fence, state=commit.snapshot))
    if commit.end is None:
        db.add(STORE(**brought, progress=bool(commit.steps), leaves=commit.leaves))
        await db.commit()
        return Ring(row.id, row.thread_id) if commit.leaves else None
    receipt = ending and receipt_of(
        ending.past,
        status=commit.end.outcome,
        last=f"{commit.fence}-{brought['last_seq']}",
        new_rows=len(new),
        chain=brought["chain"],
        key=ending.key,
    )
    return await _finish(db, row, commit.end, brought | {"receipt": receipt})


async def _finish(db: Transaction, row: Locked, end: End, brought: dict[str, Any]) -> Ring | None:
    """Store what the last commit brings and close the run's books; then what to ring for next."""
    head = row.head
    if end.withdrawn:
        head = await withdraw(db, row.thread_id, end.withdrawn, head)
    finished = db.add(FINISH(**brought, **end_columns(head, end)))
    await db.commit()
    return finished.row


async def _unhashed_starts(db: Transaction, row: Locked) -> list[StoredRow]:
    """Start rows of take-overs, which enter the chain when their fence settles."""
    return await db.all(_UNHASHED(thread=row.thread_id, settled=row.settled))


def _check_order(row: Locked, commit: Commit) -> None:
    """Seqs without gaps; a tail exactly with the commit that settles the fence."""
    settling = row.settled < commit.fence
    if settling != (commit.tail is not None):
        raise BatonError(Code.GAP, "A take-over's first commit, and no other, brings the tail.")
    after = (row.last_fence, row.last_seq)
    for one in commit.tail or ():
        if not after < (one.fence, one.seq) < (commit.fence, 1):
            raise BatonError(Code.CONFLICT, "The tail does not continue what is stored.")
        after = (one.fence, one.seq)
    expected = 2 if settling else row.last_seq + 1
    for own in commit.rows:
        if own.seq != expected or own.seq_to < own.seq:
            raise BatonError(Code.GAP, f"Event {expected} comes next, not {own.seq}.")
        expected = own.seq_to + 1
