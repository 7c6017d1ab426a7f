"""`/v1/responses`: making, reading, streaming and cancelling responses; each is a run."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from gateway.accept import Accepted, accept, request_cancel
from gateway.api.routing import SignedIn, StrictRoute, WithServices
from gateway.auth.caller import Caller
from gateway.openai.asked import bad, idempotency_key
from gateway.openai.chat import created_at, headers_of, require_thread
from gateway.openai.models import agent_of
from gateway.openai.response import PREFIX, Identity, ResponseStream, response
from gateway.openai.serving import Served, begun, link_of, unless_gone
from gateway.openai.submit import submission
from gateway.openai.wanted import Wanted, read_response_request
from gateway.services import Services
from gateway.store import runs, threads
from gateway.store.runs import RunRow
from shared.db.conversations import LIVE, RunStatus
from shared.errors import BatonError
from shared.protocol.codes import Code

router = APIRouter(prefix="/v1", route_class=StrictRoute, include_in_schema=False)


@router.post("/responses")
async def create_response(request: Request, caller: SignedIn, services: WithServices) -> Response:
    """A response: at once, as a stream, or in the background."""
    body = await request.json()
    wanted = read_response_request(body, request.headers)
    key = idempotency_key(request.headers)
    agent = await agent_of(services, wanted.model)
    _check_form(wanted, agent)
    onto = await _previous(services, caller, wanted.previous) if wanted.previous else None
    sent = submission(caller, wanted, body, agent=agent["name"], key=key, onto=onto)
    if wanted.thread is not None:
        await require_thread(services, caller, sent.thread_id)
    accepted = await accept(services, caller, sent)
    identity = _identity(accepted, wanted.model, background=wanted.background)
    headers = headers_of(accepted, wanted)
    served = _served(request, services, caller, accepted, again=key is not None)
    if wanted.stream:
        lines = ResponseStream(identity, events=request.headers.get("baton-events") == "1")
        return await begun(served.stream(lines), headers)
    if wanted.background:
        return _json(response(identity, "queued"), headers)
    text, usage = await unless_gone(request, served.whole())
    return _json(response(identity, "completed", text=text, usage=usage), headers)


@router.get("/responses/{response_id}")
async def get_response(
    response_id: str,
    request: Request,
    caller: SignedIn,
    services: WithServices,
    stream: bool = False,
    starting_after: Annotated[int, Query(ge=0)] | None = None,
) -> Response:
    """A response as it stands; or its stream, from the beginning or after one of its events."""
    row, newest, accepted = await _found(services, caller, response_id)
    identity = _identity(accepted, row.agent)
    if stream:
        served = _served(request, services, caller, accepted, again=True, anew=True)
        after = -1 if starting_after is None else starting_after
        return await begun(served.stream(ResponseStream(identity, after=after)), {})
    if starting_after is not None:
        raise bad("starting_after", "it is for streams only.")
    if newest.status in LIVE:
        status = "queued" if newest.status == RunStatus.QUEUED else "in_progress"
        return _json(response(identity, status), {})
    try:
        text, usage = await _served(request, services, caller, accepted, again=True).whole()
    except BatonError as error:
        if newest.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
            raise
        failed = newest.status == RunStatus.FAILED
        status, why = ("failed", error) if failed else ("cancelled", None)
        return _json(response(identity, status, error=why), {})
    return _json(response(identity, "completed", text=text, usage=usage), {})


@router.post("/responses/{response_id}/cancel")
async def cancel_response(response_id: str, caller: SignedIn, services: WithServices) -> Response:
    """Ask a response to stop; one that has ended stays as it is."""
    row, newest, accepted = await _found(services, caller, response_id)
    identity = _identity(accepted, row.agent)
    if newest.status not in LIVE:
        raise bad("response_id", "this response has ended.")
    await request_cancel(services, caller, thread_id=None, run_id=newest.public_id)
    return _json(response(identity, "cancelled"), {})


def _check_form(wanted: Wanted, agent: dict[str, Any]) -> None:
    output = (agent.get("capabilities") or {}).get("output") or {}
    if wanted.wants_json and not output.get("structuredOutput"):
        raise bad("text.format", f"{agent['name']} answers with text: it has no output_type.")


async def _previous(services: Services, caller: Caller, previous: str) -> str:
    """The thread of the response that is gone on from, which has to be its last one."""
    async with services.db.reading(caller.user_id) as db:
        row = await runs.find(db, caller.user_id, previous.removeprefix(PREFIX))
        if row is None or not previous.startswith(PREFIX):
            raise BatonError(
                Code.NOT_FOUND,
                "There is no such response, or it is not yours.",
                param="previous_response_id",
                reason="previous_response_not_found",
            )
        (last,) = await runs.page(db, caller.user_id, limit=1, thread=row.thread)
    if row.key != last.key and row.resumed_by != last.public_id:
        raise BatonError(
            Code.NOT_SUPPORTED,
            "previous_response_id: the conversation has gone on since then.",
            param="previous_response_id",
        )
    return row.thread


async def _found(
    services: Services, caller: Caller, response_id: str
) -> tuple[RunRow, RunRow, Accepted]:
    """The run of a response, and the newest that goes on with it."""
    async with services.db.reading(caller.user_id) as db:
        row = newest = await _run(db, caller, response_id.removeprefix(PREFIX))
        if row is None or not response_id.startswith(PREFIX):
            raise BatonError(Code.NOT_FOUND, "There is no such response, or it is not yours.")
        while newest is not None and newest.resumed_by:
            newest = await _run(db, caller, newest.resumed_by)
        thread = await threads.find(db, caller.user_id, row.thread)
    if thread is None or newest is None:
        raise BatonError(Code.NOT_FOUND)
    accepted = Accepted(
        run_key=row.key,
        thread_key=row.thread_key,
        run_id=row.public_id,
        thread_id=row.thread,
        agent=row.agent,
        status=row.status,
        queued=False,
        created=False,
        last=thread.last,
    )
    return row, newest, accepted


async def _run(db: AsyncConnection, caller: Caller, run: str) -> RunRow | None:
    return await runs.find(db, caller.user_id, run)


def _identity(accepted: Accepted, model: str, *, background: bool = False) -> Identity:
    return Identity(
        run=accepted.run_id, created_at=created_at(accepted), model=model, background=background
    )


def _served(
    request: Request,
    services: Services,
    caller: Caller,
    accepted: Accepted,
    *,
    again: bool,
    anew: bool = False,
) -> Served:
    link = link_of(request, services, accepted.run_id)
    followers = request.app.state.followers
    return Served(followers, caller, accepted, again=again, link=link, anew=anew)


def _json(value: dict[str, Any], headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(value), headers=headers, media_type="application/json")
