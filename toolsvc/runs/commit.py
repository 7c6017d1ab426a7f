"""Commits: steps, the events since the last commit, spans, and perhaps the end, in one transaction.

The thread's row is locked and its fence compared first: a writer that was overtaken gets 409. A
commit that comes again, because its answer was lost, is recognised by its number and digest.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from shared.bus.doorbell import Ring
from shared.chain import ChainedRow, StoredRow, extend, sealed
from shared.db.direct import Transaction
from shared.db.line import Statement
from shared.errors import BatonError, FencedError
from shared.protocol.codes import Code
from shared.protocol.record import Commit, End
from shared.signing import SigningKey
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

# Everything that a commit brings. Rows already there with other content would break the primary
# key: that is a bug of the writer and ends its commit.
_BROUGHT = """
    WITH stored AS (
        INSERT INTO events (thread_id, fence, seq, seq_to, run_id, type, data, salt, digest, hash)
        SELECT :thread, fence, seq, seq_to, :run, type, data, salt, digest, hash
        FROM unnest(CAST(:fences AS bigint[]), CAST(:seqs AS bigint[]), CAST(:seqs_to AS bigint[]),
            CAST(:types AS text[]), CAST(:datas AS text[]), CAST(:salts AS bytea[]),
            CAST(:digests AS bytea[]), CAST(:hashes AS bytea[]))
            AS rows (fence, seq, seq_to, type, data, salt, digest, hash)
    ), journal AS (
        INSERT INTO steps (root_id, scope, kind, place, ordinal, run_id, fence, digest, record)
        SELECT :root, scope, kind, place, number + COALESCE(
            (SELECT max(ordinal) FROM steps WHERE root_id = :root), 0), :run, :fence, digest, record
        FROM unnest(CAST(:scopes AS text[]), CAST(:kinds AS text[]), CAST(:places AS text[]),
            CAST(:step_digests AS text[]), CAST(:records AS text[]))
            WITH ORDINALITY AS steps (scope, kind, place, digest, record, number)
    ), trace AS (
        INSERT INTO spans (id, root_id, parent_id, fence, started_at, ended_at, data, error)
        SELECT id, :root, parent, :fence, started, ended, CAST(data AS json), CAST(error AS json)
        FROM unnest(CAST(:span_ids AS text[]), CAST(:parents AS text[]),
            CAST(:started AS timestamptz[]), CAST(:ended AS timestamptz[]),
            CAST(:span_datas AS text[]), CAST(:span_errors AS text[]))
            AS spans (id, parent, started, ended, data, error)
        ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, data = excluded.data,
            error = excluded.error
            WHERE spans.root_id = excluded.root_id
    )"""

_STORE = Statement(f"""{_BROUGHT}, thread AS (
        UPDATE threads SET settled = :fence, last_fence = :fence, last_seq = :last_seq,
            chain = :chain, committed_at = now()
        WHERE id = :thread
    )
    UPDATE runs SET commits = :n, commit_digest = :commit_digest,
        deaths = CASE WHEN CAST(:progress AS boolean) THEN 0 ELSE deaths END
    WHERE id = :run
""")  # noqa: S608

# The same for a run's last commit, and the end of the run. It begins under the thread's lock, so
# that no run is queued between the look for the next one and the end of this one.
_FINISH = Statement(
    f"""{_BROUGHT}, kept AS (
        INSERT INTO messages (thread_id, id, parent, run_id, role, content)
        SELECT :thread, id, parent, :run, role, CAST(content AS json)
        FROM unnest(CAST(:message_ids AS text[]), CAST(:message_parents AS text[]),
            CAST(:roles AS text[]), CAST(:contents AS text[]))
            WITH ORDINALITY AS rows (id, parent, role, content, number)
        ORDER BY number
        ON CONFLICT (thread_id, id) DO NOTHING
    ), thread AS (
        UPDATE threads SET settled = :fence, last_fence = :fence, last_seq = :last_seq,
            chain = :chain, committed_at = now(), head = :head, updated_at = now()
        WHERE id = :thread
    ), forgotten AS (
        DELETE FROM snapshots WHERE root_id = :root AND :status <> 'interrupted'
    ), next AS (
        UPDATE runs SET ready = true WHERE id = (
            SELECT id FROM runs WHERE thread_id = :thread AND status = 'queued'
            ORDER BY resumes IS NULL, turn, id LIMIT 1
        ) RETURNING id, thread_id
    ), run AS (
        UPDATE runs SET commits = :n, commit_digest = :commit_digest, status = :status,
            error_code = :error_code, error_message = :error_message,
            usage = CAST(:usage AS json), ended_at = now(), runner_id = NULL, receipt = :receipt
        WHERE id = :run
    )
    SELECT id, thread_id FROM next
    """,  # noqa: S608
    Ring._make,
)

# One of each root run, the newest.
_SNAPSHOT = Statement("""
    INSERT INTO snapshots (root_id, fence, state) VALUES (:root, :fence, :state)
    ON CONFLICT (root_id) DO UPDATE SET fence = excluded.fence, state = excluded.state,
        created_at = now()
""")

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
        **_event_columns(new),
        **_step_columns(commit),
        **_span_columns(commit),
    }
    if starts:
        hashed = [one for one in chained if one.row[:2] in known]
        fences, hashes = [one.row.fence for one in hashed], [one.hash for one in hashed]
        db.add(_HASH(thread=row.thread_id, fences=fences, hashes=hashes))
    if commit.snapshot is not None:
        db.add(_SNAPSHOT(root=row.root_id, fence=commit.fence, state=commit.snapshot))
    if commit.end is None:
        db.add(_STORE(**brought, progress=bool(commit.steps)))
        await db.commit()
        return None
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
    finished = db.add(_FINISH(**brought, **_end_columns(head, end)))
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


def _event_columns(rows: list[ChainedRow]) -> dict[str, list[Any]]:
    return {
        "fences": [one.row.fence for one in rows],
        "seqs": [one.row.seq for one in rows],
        "seqs_to": [one.row.seq_to for one in rows],
        "types": [one.row.type for one in rows],
        "datas": [one.row.data for one in rows],
        "salts": [one.row.salt for one in rows],
        "digests": [one.row.digest for one in rows],
        "hashes": [one.hash for one in rows],
    }


def _step_columns(commit: Commit) -> dict[str, list[Any]]:
    return {
        "scopes": [step.scope for step in commit.steps],
        "kinds": [step.kind for step in commit.steps],
        "places": [step.place for step in commit.steps],
        "step_digests": [step.digest for step in commit.steps],
        "records": [step.record for step in commit.steps],
    }


def _span_columns(commit: Commit) -> dict[str, list[Any]]:
    """A span that came twice in one commit counts as it came last."""
    spans = {span.id: span for span in commit.spans}.values()
    return {
        "span_ids": [span.id for span in spans],
        "parents": [span.parent for span in spans],
        "started": [span.started for span in spans],
        "ended": [span.ended for span in spans],
        "span_datas": [_storable(span.data) for span in spans],
        "span_errors": [_storable(span.error) if span.error else None for span in spans],
    }


def _end_columns(head: str | None, end: End) -> dict[str, Any]:
    """What closes the run's books."""
    messages = end.messages
    ids = [message["id"] for message in messages]
    return {
        "message_ids": ids,
        "message_parents": [head, *ids][: len(ids)],
        "roles": [message["role"] for message in messages],
        "contents": [_storable(message) for message in messages],
        "head": ids[-1] if ids else head,
        "status": end.outcome,
        "error_code": end.error_code,
        "error_message": end.error_message,
        "usage": _storable(end.usage),
    }


def _storable(value: Any) -> str:
    try:
        text_: str = orjson.dumps(value).decode()
    except TypeError as error:  # an integer beyond 64 bits, for one
        raise BatonError(Code.BAD_INPUT, f"A value cannot be stored: {error}.") from None
    return text_
