"""What a run that resumes another one finds: the journal apart, all that the others left behind."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.db.direct import Transaction
from shared.db.line import Command, Statement
from shared.db.path import PATH, path_of
from shared.protocol.record import Continued

# No later run of the root exists while this one is not over.
_STEPS = Statement(
    "SELECT count(*) FROM steps WHERE root_id = :root AND run_id <> :run",
    lambda columns: int(columns[0]),
)
_MESSAGES = Statement(
    """
    SELECT id FROM messages WHERE thread_id = :thread AND run_id IN (
        SELECT id FROM runs WHERE thread_id = :thread AND root_id = :root AND id <> :run
    )
    """,
    lambda columns: str(columns[0]),
)
# A half-written message may have descendants by now: each is hung up at the next one that stays.
_WITHDRAW = Statement(
    """
    WITH RECURSIVE gone AS (
        SELECT id, parent FROM messages WHERE thread_id = :thread AND id = ANY(:ids)
    ), up AS (
        SELECT id, parent FROM gone
        UNION ALL
        SELECT up.id, gone.parent FROM up JOIN gone ON gone.id = up.parent
    ), stays AS (
        SELECT id, parent FROM up WHERE parent IS NULL OR NOT parent = ANY(:ids)
    ), rehung AS (
        UPDATE messages SET parent = stays.parent FROM stays
        WHERE thread_id = :thread AND messages.parent = stays.id AND NOT messages.id = ANY(:ids)
    ), deleted AS (
        DELETE FROM messages WHERE thread_id = :thread AND id = ANY(:ids)
    )
    SELECT parent FROM stays WHERE id = :head
    """,
    lambda columns: columns[0] and str(columns[0]),
)


@dataclass(frozen=True, slots=True)
class Earlier:
    """Answers to come: they are read when the claim's transaction has ended."""

    run: str
    steps: Command[int]
    messages: Command[str]
    path: Command[Any] | None
    limit: int

    def read(self) -> Continued:
        """What the database answered."""
        path = path_of(self.path.rows, self.limit).messages if self.path else []
        return Continued.model_construct(
            run=self.run, steps=self.steps.row or 0, path=path, messages=self.messages.rows
        )


def look_back(
    db: Transaction,
    *,
    thread: UUID,
    root: UUID,
    run: UUID,
    resumes: str,
    head: str | None,
    limit: int,
) -> Earlier:
    """Ask what earlier runs of the root have left; sent with the transaction's other statements."""
    return Earlier(
        resumes,
        db.add(_STEPS(root=root, run=run)),
        db.add(_MESSAGES(thread=thread, root=root, run=run)),
        db.add(PATH(thread=thread, leaf=head, limit=limit)) if head else None,
        limit,
    )


async def withdraw(db: Transaction, thread: UUID, ids: list[str], head: str | None) -> str | None:
    """Take messages off the thread's tree; the leaf of the path that is left of `head`."""
    row = await db.one(_WITHDRAW(thread=thread, ids=ids, head=head))
    return row if head in ids else head
