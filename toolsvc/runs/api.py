"""Routes of the record: what runners and gateways ask of toolsvc.

Plain Starlette endpoints with one validation each: a commit is on every step's path.
"""

import asyncio
from hashlib import sha256
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.bus.connect import AWAY as REDIS_AWAY
from shared.bus.doorbell import Ring, ring
from shared.errors import BatonError, FencedError
from shared.protocol.codes import Code
from shared.protocol.record import (
    Catalogue,
    CatalogueAnswer,
    ClaimAnswer,
    ClaimRequest,
    Commit,
    CommitAnswer,
    Death,
    Heartbeat,
    HeartbeatAnswer,
)
from shared.telemetry.logs import bind, get_logger, user_hash
from shared.telemetry.metrics import CLAIMS, COMMITS, DEATHS, RUNS_ENDED
from shared.tokens import verify_run_token
from toolsvc.runs import deaths, lease
from toolsvc.runs.asking import (
    answer_with,
    bearer_of,
    body_of,
    for_runner,
    holder_of,
    mistakes,
    parsed,
    require,
    run_of,
    secret_of,
    transaction,
)
from toolsvc.runs.claim import Found, answer_of, claim_alone, claim_next
from toolsvc.runs.close import close_cancelled, close_senseless
from toolsvc.runs.commit import apply_commit
from toolsvc.runs.providers import consulted
from toolsvc.runs.tokens import renewed_tokens, token_for
from toolsvc.services import Services

log = get_logger(__name__)


async def claims(request: Request) -> Response:
    """Give a runner the run whose turn it is, or nothing."""
    services = for_runner(request)
    wanted = await body_of(request, ClaimRequest)
    with mistakes():
        async with services.direct.transaction() as db:
            if wanted.alone:
                found = Found(await claim_alone(db, wanted))
            else:
                found = await claim_next(db, wanted, may_judge=services.judge.may_judge())
    for where in (found.died, found.claim and found.claim.row.mourned):
        if where:
            DEATHS.labels(where).inc()
    answer = _suspected(found)
    if answer.suspect:
        log.warning("run is suspect", **answer.suspect_names, runner=wanted.runner)
    claim = found.claim
    CLAIMS.labels(_kind(found)).inc()
    if claim is None:
        return answer_with(answer)
    row = claim.row
    bind(run=row.public_id, thread=row.thread_public_id, user=user_hash(row.user_id))
    log.info(
        "run claimed",
        found=_kind(found),
        runner=wanted.runner,
        fence=claim.fence,
        deaths=row.deaths,
        alone=wanted.alone,
    )
    token, expires = token_for(services, row, claim.fence)
    try:
        claimed = answer_of(claim, token=token, expires=expires)
        return answer_with(answer.model_copy(update={"claimed": claimed}))
    except (TypeError, ValueError) as error:  # somebody has altered the conversation by hand
        log.warning("a run makes no sense and is closed", error=str(error))
        await close_senseless(services, claim)
        return answer_with(answer)


async def heartbeat(request: Request) -> Response:
    """Renew a runner's lease and tell it the news about its runs."""
    services = for_runner(request)
    named = await body_of(request, Heartbeat)
    life_s = services.settings.lease_s
    async with transaction(services) as db:
        news = await lease.renew(db, holder_of(request), named, life_s=life_s)
    services.judge.served()
    providers = await consulted(
        services.direct, holder_of(request).id, named.providers, life_s=life_s
    )
    by_run = {one.run: one for one in news}
    lost = [
        carried.run
        for carried in named.runs
        if (one := by_run.get(carried.run)) is None or one.fence != carried.fence or not one.carried
    ]
    answer = HeartbeatAnswer(
        lease_s=life_s,
        fenced=lost,
        cancelled=[one.run for one in news if one.cancelled and one.run not in lost],
        tokens=renewed_tokens(services, named, lost),
        providers=providers,
    )
    return answer_with(answer)


async def catalogue(request: Request) -> Response:
    """Keep what a runner serves."""
    services = for_runner(request)
    served = await body_of(request, Catalogue)
    async with transaction(services) as db:
        await lease.announce(db, holder_of(request), served, life_s=services.settings.lease_s)
        in_use = await lease.code_in_use(db)
    return answer_with(CatalogueAnswer(in_use=in_use))


async def leave(request: Request) -> Response:
    """A runner ends: what it still carries may be taken over at once."""
    services = for_runner(request)
    async with transaction(services) as db:
        await lease.release(db, holder_of(request))
    return answer_with(CommitAnswer())


async def steps(request: Request) -> Response:
    """Commit steps and events."""
    return await _commit(request, ending=False)


async def finish(request: Request) -> Response:
    """Commit the last events and end the run."""
    return await _commit(request, ending=True)


async def fence(request: Request) -> Response:
    """Whether the token's claim still is the newest of its thread: 200, or 409."""
    services: Services = request.app.state.services
    key = services.settings.run_token_key.get_secret_value()
    token = verify_run_token(key, bearer_of(request))
    if token.run != run_of(request):
        raise BatonError(Code.FORBIDDEN, "The run token was made for another run.")
    async with services.engine.connect() as db:
        await lease.confirm(db, token.run, token.fence)
    return answer_with(CommitAnswer())


async def close(request: Request) -> Response:
    """End a cancelled run soon, by its runner or by us; answers at once."""
    services: Services = request.app.state.services
    require(request, services.settings.gateway_key.get_secret_value())
    run = run_of(request)
    closing: set[asyncio.Task[None]] = request.app.state.closing
    task = asyncio.create_task(_close(services, run), name=f"close {run}")
    closing.add(task)
    task.add_done_callback(closing.discard)
    return answer_with(CommitAnswer(cancelled=True), status=202)


async def death(request: Request) -> Response:
    """A runner tells how the process ended that it had started for a suspect run."""
    services = for_runner(request)
    run, told = run_of(request), await body_of(request, Death)
    async with transaction(services) as db:
        found = await deaths.report(db, run, told, secret_of(request))
    if found is None:
        return answer_with(CommitAnswer())
    bind(run=found.public_id, thread=found.thread_public_id)
    if found.counted:
        DEATHS.labels("alone").inc()
        await _ring(services, Ring(run, found.thread_id))
    log.warning(
        "a lone process died",
        status=told.status,
        told_to_end=told.told_to_end,
        counted=found.counted,
    )
    return answer_with(CommitAnswer())


ROUTES = [
    Route("/claims", claims, methods=["POST"]),
    Route("/runners/{runner}/heartbeat", heartbeat, methods=["POST"]),
    Route("/runners/{runner}/catalogue", catalogue, methods=["POST"]),
    Route("/runners/{runner}", leave, methods=["DELETE"]),
    Route("/runs/{run}/steps", steps, methods=["POST"]),
    Route("/runs/{run}/finish", finish, methods=["POST"]),
    Route("/runs/{run}/fence", fence, methods=["GET"]),
    Route("/runs/{run}/close", close, methods=["POST"]),
    Route("/runs/{run}/deaths", death, methods=["POST"]),
]


async def _commit(request: Request, *, ending: bool) -> Response:
    services: Services = request.app.state.services
    run = run_of(request)
    key = services.settings.run_token_key.get_secret_value()
    token = verify_run_token(key, bearer_of(request))
    bind(run=token.public_run, thread=token.public_thread, user=user_hash(token.user))
    raw = await request.body()
    commit = parsed(raw, Commit)
    if token.run != run or token.fence != commit.fence:
        raise BatonError(Code.FORBIDDEN, "The run token was made for another run or claim.")
    if ending != (commit.end is not None):
        raise BatonError(Code.BAD_INPUT, "`end` belongs to /finish, and /finish needs it.")
    try:
        with mistakes():
            async with services.direct.transaction() as db:
                digest = sha256(raw).digest()
                done = await apply_commit(db, run, commit, digest, key=services.receipt_key)
    except BatonError as error:
        COMMITS.labels(error.code).inc()
        raise
    COMMITS.labels("repeated" if done.repeated else "stored").inc()
    if commit.end and not done.repeated:
        RUNS_ENDED.labels(done.agent, commit.end.outcome).inc()
        log.info("run ended", outcome=commit.end.outcome, code=commit.end.error_code)
    if done.next:
        await _ring(services, done.next)
    return answer_with(CommitAnswer(cancelled=done.cancelled))


def _suspected(found: Found) -> ClaimAnswer:
    if (row := found.suspect) is None:
        return ClaimAnswer()
    return ClaimAnswer(
        suspect=row.id, suspect_run_id=row.public_id, suspect_thread_id=row.thread_public_id
    )


def _kind(found: Found) -> str:
    if found.claim is None:
        return "suspect" if found.suspect else "nothing"
    return "rescued" if found.claim.rescued else "queued"


async def _ring(services: Services, following: Ring) -> None:
    """A run that can go on; a lost ring is made up for by `keep_ringing`."""
    try:
        await ring(services.redis, [following])
    except REDIS_AWAY as error:
        log.warning("could not ring for a run", error=str(error))


async def _close(services: Services, run: UUID) -> None:
    try:
        await close_cancelled(services, run)
    except FencedError:
        log.info("a cancelled run was taken over meanwhile", run=str(run))
    except Exception:
        log.exception("could not close a cancelled run; it will be rung for again", run=str(run))
