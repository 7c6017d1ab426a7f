"""Stopping runs: SQL first, then whoever is concerned is told."""

from dataclasses import dataclass

from gateway.auth.caller import Caller
from gateway.services import Services
from gateway.store import interrupts, runs, threads
from gateway.toolsvc import close_run
from shared.db.conversations import RunStatus
from shared.errors import BatonError
from shared.protocol.codes import Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """A run that was asked to stop; `status` is where it stood, or how it had ended already."""

    run_id: str
    thread_id: str
    status: str


async def request_cancel(
    services: Services, caller: Caller, *, thread_id: str | None, run_id: str
) -> Cancelled:
    """Ask a run to stop; one that has ended already stays as it is, and waits for nobody.

    Raises:
        BatonError: NOT_FOUND.
    """
    async with services.db.reading(caller.user_id) as db:
        run = await runs.find(db, caller.user_id, run_id)
    if run is None or thread_id not in (None, run.thread):
        raise BatonError(Code.NOT_FOUND)
    async with services.db.locking(caller.user_id) as tx:
        threads.lock(tx, caller.user_id, run.thread)
        stopping = runs.ask_to_stop(tx, run.thread_key, run.key)
        status = await runs.status(tx, run.key)
        if status == RunStatus.INTERRUPTED:
            interrupts.supersede(tx, run.thread_key, by=caller.email, run=run.key)
    announce_stops(services, caller, run.thread, stopping.rows)
    if status == RunStatus.INTERRUPTED:
        services.tell(caller.user_id, "approvals", run.thread)
    return Cancelled(run_id=run.public_id, thread_id=run.thread, status=status)


def announce_stops(
    services: Services, caller: Caller, thread_id: str, stopped: list[runs.Stopped]
) -> None:
    """After the commit: toolsvc closes what runs; of what only waited, the person is told."""
    for run in stopped:
        if run.status == RunStatus.RUNNING:
            services.background.start(close_run(services, run.key), f"close {run.key}")
        else:
            services.tell(caller.user_id, "queue", thread_id)
