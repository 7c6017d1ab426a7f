"""Deciding what runs ask: each decision is recorded once, the last one makes the run go on."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.access import Visible, visible
from gateway.auth.caller import Caller
from gateway.intake import Verdict
from gateway.resume import announce_resume
from gateway.services import Services
from gateway.store import interrupts, resumes
from gateway.store.interrupts import InterruptRow
from gateway.store.resumes import Ended, Named, Resumed
from shared.db.direct import Transaction
from shared.db.interrupts import InterruptStatus
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import InterruptReason
from shared.telemetry.logs import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of decisions: the run they were about, and the one that goes on, if any does."""

    ended: Ended
    #: Questions that nobody has decided yet.
    open: list[str]
    resumed: Resumed | None


async def decide_run(
    services: Services, caller: Caller, run: str, verdicts: Sequence[Verdict]
) -> Decided:
    """Record decisions about what a run asks; with the last one it goes on, at once.

    Raises:
        BatonError: as `decide`.
    """
    agents = await visible(services, caller)
    async with services.db.locking(caller.user_id) as db:
        decided = await decide(db, caller, agents, verdicts, run=run)
    announce(services, caller, decided)
    return decided


async def decide(
    db: Transaction,
    caller: Caller,
    agents: Visible,
    verdicts: Sequence[Verdict],
    *,
    thread: str | None = None,
    run: str | None = None,
    named: Named | None = None,
) -> Decided:
    """Record decisions in a transaction; the one that makes none open any more resumes the run.

    A decision that was made before is fine. `named` is what the new run shall be called.

    Raises:
        BatonError: NOT_FOUND, also for others' and those of another thread or run; BAD_INPUT where
            they belong to several runs, or a result is told where a decision is wanted; CONFLICT
            where somebody has decided otherwise; GONE where retention has deleted the run's
            journal; UNKNOWN_AGENT where the caller may not use its agent. Nothing is recorded then.
    """
    ids = [one.interrupt for one in verdicts]
    found = await interrupts.runs_of(db, caller.user_id, ids, thread=thread, run=run)
    if sum(number for _, number in found) != len(ids):
        raise BatonError(Code.NOT_FOUND, "There is no such open question, or it is not yours.")
    if len(found) != 1:
        raise BatonError(Code.BAD_INPUT, "These belong to several runs; decide one after another.")
    ended = await resumes.lock(db, found[0][0])
    agents.require(ended.agent)
    asked = {one.id: one for one in await interrupts.asked_by(db, ended.key)}
    for verdict in verdicts:
        _decide(db, caller, asked[verdict.interrupt], verdict)
    said = {one.interrupt for one in verdicts}
    left = [
        one.id
        for one in asked.values()
        if one.status == InterruptStatus.OPEN and one.id not in said
    ]
    resumed = None if left else await resumes.resume(db, ended, named=named)
    return Decided(ended, left, resumed)


def _decide(db: Transaction, caller: Caller, asked: InterruptRow, verdict: Verdict) -> None:
    of_client = asked.reason == InterruptReason.CLIENT_TOOL
    if verdict.approved and of_client is not verdict.result:
        wanted = f"the result of {asked.tool}, which the client has" if of_client else "a decision"
        raise BatonError(Code.BAD_INPUT, f"{asked.id} waits for {wanted}.")
    if asked.status == InterruptStatus.OPEN:
        interrupts.decide(db, verdict.interrupt, verdict.status, verdict.message, by=caller.email)
    elif (asked.status, asked.message) != (verdict.status, verdict.message):
        raise BatonError(
            Code.CONFLICT, f"{asked.decided_by} has decided otherwise: {asked.status}."
        )


def announce(services: Services, caller: Caller, decided: Decided) -> None:
    """After the commit: wake a runner, and tell the person's sockets."""
    log.info("decisions recorded", run=decided.ended.public_id, open=len(decided.open))
    services.tell(caller.user_id, "approvals", decided.ended.thread)
    if decided.resumed:
        announce_resume(services, decided.ended, decided.resumed)
