"""Resumes: a new run that goes on where one has ended, with its journal, effects and trace."""

from typing import NamedTuple
from uuid import UUID

from gateway.store.runs import NEXT_TURN
from shared.db.conversations import RunStatus
from shared.db.direct import Transaction
from shared.db.line import Statement
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import new_run_id, uuid7

_RESUMABLE = (RunStatus.FAILED, RunStatus.INTERRUPTED)


class Ended(NamedTuple):
    """A run whose thread is locked; it may have ended, or not."""

    key: UUID
    public_id: str
    status: str
    error_code: str | None
    owner: UUID
    thread_key: UUID
    thread: str
    root: UUID
    agent: str


class Named(NamedTuple):
    """What a client calls the run that resumes another, and the digest of what it sent."""

    public_id: str
    digest: bytes


class Resumed(NamedTuple):
    """The run that resumes another one. `created` is false where it was there already."""

    key: UUID
    public_id: str
    status: str
    #: Whether it is the thread's turn; else it waits for another run.
    ready: bool
    created: bool


_LOCK = Statement(
    """
    SELECT runs.id, runs.public_id, runs.status, runs.error_code, runs.user_id,
        runs.thread_id, threads.public_id, runs.root_id, runs.agent
    FROM runs JOIN threads ON threads.id = runs.thread_id
    WHERE runs.id = :run AND threads.deleted_at IS NULL
    FOR UPDATE OF threads FOR NO KEY UPDATE OF runs
    """,
    Ended._make,
)
_KNOWN = Statement(
    """
    SELECT id, public_id, status, ready, false FROM runs WHERE user_id = :user AND resumes = :run
    """,
    Resumed._make,
)
# Looked at under the thread's lock, which retention holds while it deletes.
_FORGOTTEN = Statement(
    "SELECT true FROM runs WHERE id = :root AND forgotten && '{steps,effects}'",
    lambda columns: bool(columns[0]),
)
# What the root run was told counts for its resumes too, so that replay finds the same. Without a
# digest, it is the runner's newest code that the first claim puts down.
_RESUME = Statement(
    f"""
    WITH next AS ({NEXT_TURN})
    INSERT INTO runs (id, root_id, resumes, public_id, user_id, thread_id, agent, agent_digest,
        status, ready, priority, turn, base, message_id, input, input_digest, project_id, commits)
    SELECT :key, old.root_id, old.public_id, :public_id, old.user_id, old.thread_id, old.agent,
        CASE WHEN CAST(:newest_code AS boolean) THEN NULL ELSE old.agent_digest END, 'queued',
        NOT EXISTS (
            SELECT FROM runs WHERE thread_id = old.thread_id AND (status = 'running'
                OR status = 'queued' AND (ready OR resumes IS NOT NULL))
        ) AND NOT EXISTS (
            SELECT FROM interrupts WHERE thread_id = old.thread_id AND status = 'open'
        ), old.priority, next.turn, old.base, old.message_id, old.input,
        COALESCE(CAST(:digest AS bytea), old.input_digest),
        old.project_id, 0
    FROM runs AS old, next WHERE old.id = :run
    RETURNING id, public_id, status, ready, true
    """,  # noqa: S608
    Resumed._make,
)


async def lock(db: Transaction, run: UUID) -> Ended:
    """Lock a run's thread, so that the run stays as it is until this transaction ends.

    Raises:
        BatonError: NOT_FOUND, also where its thread is deleted.
    """
    found = await db.one(_LOCK(run=run))
    if found is None:
        raise BatonError(Code.NOT_FOUND)
    return found


async def resume(
    db: Transaction, ended: Ended, *, newest_code: bool = False, named: Named | None = None
) -> Resumed:
    """Queue a run that resumes this one, whose thread the caller has locked; once for each run.

    It goes on with the code that the other one had, or with the newest of its agent.

    Raises:
        BatonError: NOT_RUNNING where the run still goes on, ended well or was cancelled; GONE where
            retention has deleted its journal.
    """
    if known := await db.one(_KNOWN(user=ended.owner, run=ended.public_id)):
        return known
    if ended.status not in _RESUMABLE:
        raise BatonError(
            Code.NOT_RUNNING, f"The run is {ended.status}: there is nothing to resume."
        )
    if await db.one(_FORGOTTEN(root=ended.root)):
        raise BatonError(
            Code.GONE, "What the run did was deleted; resumed, it would do all of it again."
        )
    made = await db.one(
        _RESUME(
            key=uuid7(),
            public_id=named.public_id if named else new_run_id(),
            digest=named.digest if named else None,
            run=ended.key,
            user=ended.owner,
            newest_code=newest_code,
        )
    )
    if made is None:  # its row is locked
        raise BatonError(Code.NOT_FOUND)
    return made
