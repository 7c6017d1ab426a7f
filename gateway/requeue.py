"""Trying a poisoned run again, after somebody has cured what killed its processes."""

from gateway.auth.caller import Caller
from gateway.resume import announce_resume
from gateway.services import Services
from gateway.store import poisoned, resumes
from gateway.store.resumes import Ended, Resumed
from shared.errors import BatonError
from shared.protocol.codes import Code


async def requeue(
    services: Services, caller: Caller, run: str, *, email: str | None, old_code: bool = False
) -> tuple[Ended, Resumed]:
    """Resume a poisoned run, once; it begins in a process of its own, in case it is not cured.

    It runs the newest code of its agent, for that is where a cure is; `old_code`: what it had.

    Raises:
        BatonError: NOT_FOUND, also for others' runs where the caller is no admin; NOT_RUNNING where
            it is not poisoned; GONE where retention has deleted its journal.
    """
    async with services.db.locking(caller.user_id) as db:
        key = await poisoned.called(
            db, run, caller=caller.user_id, email=email, anybodys=caller.admin
        )
        if key is None:
            raise BatonError(Code.NOT_FOUND)
        ended = await resumes.lock(db, key)
        if ended.error_code != Code.POISONED:
            raise BatonError(Code.NOT_RUNNING, f"The run is {ended.status}, and not poisoned.")
        made = await resumes.resume(db, ended, newest_code=not old_code)
        if made.created:
            poisoned.begin_alone(db, made.key)
    announce_resume(services, ended, made)
    return ended, made
