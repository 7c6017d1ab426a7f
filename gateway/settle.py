"""Settling effects: what a person says of a call whose outcome nobody knows, and going on."""

from gateway.auth.caller import Caller
from gateway.resume import announce_resume
from gateway.services import Services
from gateway.store import effects, resumes
from gateway.store.effects import EffectRow, Settlement
from gateway.store.resumes import Ended, Resumed
from shared.db.direct import Transaction
from shared.db.records import EffectStatus
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.telemetry.logs import get_logger

log = get_logger(__name__)


async def settle_effect(
    services: Services, caller: Caller, key: str, said: Settlement, *, resume: bool
) -> EffectRow:
    """Settle an effect, and resume its run where nothing else is unknown there, at once.

    The same verdict again is answered alike, and resumes what could not be resumed before.

    Raises:
        BatonError: NOT_FOUND; CONFLICT where another verdict was given, where the call is being run
            or has ended by itself.
    """
    going_on: tuple[Ended, Resumed] | None = None
    async with services.db.locking(caller.user_id) as db:
        there = await effects.lock(db, key)
        changed = await effects.settle(db, key, said, caller.email)
        row = await _said(db, key, said, changed=changed)
        if resume and there:
            going_on = await _resume(db, key)
            row = await effects.find(db, key) or row
    if changed:
        log.info("an effect was settled", effect=key, tool=row.tool, outcome=said.status)
    if going_on:
        announce_resume(services, *going_on)
    return row


async def _said(db: Transaction, key: str, said: Settlement, *, changed: bool) -> EffectRow:
    row = await effects.find(db, key)
    if row is None:
        raise BatonError(Code.NOT_FOUND)
    if not changed and not _says(row, said):
        raise BatonError(Code.CONFLICT, _why_not(row))
    return row


async def _resume(db: Transaction, key: str) -> tuple[Ended, Resumed] | None:
    run = await effects.stuck_run(db, key)
    if run is None:
        return None
    ended = await resumes.lock(db, run)
    try:
        return ended, await resumes.resume(db, ended)
    except BatonError as error:
        if error.code is not Code.GONE:
            raise
        return (
            None  # retention has deleted its journal; what became of the call counts all the same
        )


def _says(row: EffectRow, said: Settlement) -> bool:
    """Whether this very verdict was given before; a call to retry may have ended meanwhile."""
    if row.settled_as != said.status or row.status == EffectStatus.UNKNOWN:
        return False
    if said.status is EffectStatus.RETRY:
        return True
    return (row.result, row.error_code, row.error_message) == said[1:]


def _why_not(row: EffectRow) -> str:
    if row.settled_as:
        return f"{row.settled_by} has settled it otherwise: {row.settled_as}."
    if row.status == EffectStatus.CLAIMED:
        return "It is being run; only what nobody knows the outcome of can be settled."
    return f"It ended by itself: {row.status}."
