"""The receipt of a run, made in the transaction of its last commit.

Signed here and then, not when somebody asks for it: a receipt that was made later would vouch for
whatever SQL held by then.
"""

from datetime import datetime
from typing import NamedTuple

from shared.chain import BEGINNING
from shared.db.line import Statement
from shared.receipts import RunFacts, canonical, signed_receipt
from shared.signing import SigningKey


class Past(NamedTuple):
    """A run as it stands under its thread's lock, before its last commit."""

    run: str
    root: str
    thread: str
    agent: str
    agent_digest: str | None
    started_at: datetime
    now: datetime
    first_fence: int
    rows: int
    before: bytes | None


# A thread has one run at a time, so the row before a run's first one is the last of another run.
# Where retention has deleted that, the thread's head is what was kept of it.
# `now()` is the same for the whole transaction, so it is what `ended_at` will be.
PAST = Statement(
    """
    SELECT runs.public_id, COALESCE(roots.public_id, runs.public_id), threads.public_id, runs.agent,
        runs.agent_digest, runs.started_at, now(), runs.first_fence,
        (SELECT count(*) FROM events WHERE events.run_id = runs.id),
        COALESCE((
            SELECT hash FROM events
            WHERE events.thread_id = runs.thread_id AND events.fence < runs.first_fence
            ORDER BY fence DESC, seq DESC LIMIT 1
        ), (SELECT hash FROM heads WHERE heads.thread_id = runs.thread_id))
    FROM runs JOIN threads ON threads.id = runs.thread_id
    LEFT JOIN runs AS roots ON roots.id = runs.root_id
    WHERE runs.id = :run
    """,
    Past._make,
)


def receipt_of(
    past: Past, *, status: str, last: str, new_rows: int, chain: bytes, key: SigningKey
) -> str:
    """The receipt as it is stored and shown."""
    facts = RunFacts(
        run=past.run,
        root=past.root,
        thread=past.thread,
        agent=past.agent,
        agent_digest=past.agent_digest,
        status=status,
        started_at=past.started_at,
        ended_at=past.now,
        first=f"{past.first_fence}-1",
        last=last,
        rows=past.rows + new_rows,
        before=past.before or BEGINNING,
        chain=chain,
    )
    return canonical(signed_receipt(facts, key)).decode()
