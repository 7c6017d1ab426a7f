"""`/v1/responses`: making, reading, streaming, cancelling and deleting responses; each is a run."""

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gateway.accept import Accepted, GoneOnError, accept
from gateway.api.routing import SignedIn, StrictRoute, WithServices
from gateway.auth.caller import Caller
from gateway.openai.asked import bad, idempotency_key
from gateway.openai.chat import check_instructions, created_at, headers_of, require_thread
from gateway.openai.earlier import Found, find_response, going_on, no_such_response
from gateway.openai.input_items import input_items, page_of
from gateway.openai.models import agent_of
from gateway.openai.references import spelled_out
from gateway.openai.response import Identity, ResponseStream, response
from gateway.openai.resuming import resuming
from gateway.openai.serving import Served, begun, site_of, unless_gone
from gateway.openai.submit import submission
from gateway.openai.tools import RESPONSES
from gateway.openai.wanted import Wanted, read_response_request
from gateway.services import Services
from gateway.stopping import request_cancel
from gateway.store import runs, threads
from shared.db.conversations import LIVE, RunStatus
from shared.errors import BatonError
from shared.protocol.codes import Code

router = APIRouter(prefix="/v1", route_class=StrictRoute, include_in_schema=False)


@router.post("/responses")
async def create_response(request: Request, caller: SignedIn, services: WithServices) -> Response:
    """A response: at once, as a stream, or in the background."""
    body = await request.json()
    given = await spelled_out(services, caller, body)
    wanted = read_response_request(given, request.headers)
    key = idempotency_key(request.headers)
    agent = await agent_of(services, caller, wanted.model)
    _check_form(wanted, agent)
    site = site_of(request, services)
    accepted, wanted = await _accepted(
        services, caller, wanted, body, agent=agent, key=key, site=site
    )
    identity = _identity(accepted, wanted.model, background=wanted.background)
    headers = headers_of(accepted, wanted)
    needed = caller.cancel_on_disconnect and key is None and not wanted.background
    served = _served(request, caller, accepted, again=key is not None, needed=needed)
    if wanted.stream:
        lines = ResponseStream(identity, events=request.headers.get("baton-events") == "1")
        return await begun(request, served.stream(lines), headers)
    if wanted.background:
        return _json(response(identity, "queued"), headers)
    whole = await unless_gone(request, served.whole())
    return _json(response(identity, "completed", whole=whole), headers)


async def _accepted(
    services: Services,
    caller: Caller,
    wanted: Wanted,
    body: dict[str, Any],
    *,
    agent: dict[str, Any],
    key: str | None,
    site: str,
) -> tuple[Accepted, Wanted]:
    """The run of a request: one that waited, or a new one, by itself or after another response."""
    wanted, tools = RESPONSES.read(wanted, agent)
    name, onto = agent["name"], None
    previous = await _previous(services, caller, wanted.previous) if wanted.previous else None
    sent = await resuming(services, caller, wanted, body, agent=name, key=key, previous=previous)
    if sent is not None:
        return await accept(services, caller, sent), wanted
    check_instructions(wanted, agent, place="instructions" if body.get("instructions") else None)
    if wanted.thread is not None:
        await require_thread(services, caller, wanted.thread)
    for again in (False, True):
        if previous is not None:
            onto = await going_on(services, caller, previous, key, site=site)
        sent = submission(
            caller, wanted, body, agent=name, key=key, site=site, onto=onto, tools=tools
        )
        try:
            return await accept(services, caller, sent), wanted
        except GoneOnError:  # somebody else was quicker: this is another branch then
            if again:
                raise
    raise AssertionError("unreachable")


async def _previous(services: Services, caller: Caller, previous: str) -> Found:
    async with services.db.reading(caller.user_id) as db:
        found = await find_response(db, caller, previous)
    if found is None:
        raise no_such_response()
    return found


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
    found = await _found(services, caller, response_id)
    accepted, newest = found.accepted, found.newest
    identity = _identity(accepted, accepted.agent)
    if stream:
        served = _served(request, caller, accepted, again=True, anew=True)
        after = -1 if starting_after is None else starting_after
        return await begun(request, served.stream(ResponseStream(identity, after=after)), {})
    if starting_after is not None:
        raise bad("starting_after", "it is for streams only.")
    if newest.status in LIVE:
        status = "queued" if newest.status == RunStatus.QUEUED else "in_progress"
        return _json(response(identity, status), {})
    try:
        whole = await _served(request, caller, accepted, again=True).whole()
    except BatonError as error:
        if error.code is Code.CANCELLED:
            return _json(response(identity, "cancelled"), {})
        if newest.status != RunStatus.FAILED:
            raise
        return _json(response(identity, "failed", error=error), {})
    return _json(response(identity, "completed", whole=whole), {})


@router.get("/responses/{response_id}/input_items")
async def list_input_items(
    response_id: str,
    caller: SignedIn,
    services: WithServices,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> dict[str, Any]:
    """What a response was asked, in pages; what was said before it is no part of it."""
    found = await _found(services, caller, response_id)
    async with services.db.reading(caller.user_id) as db:
        given = await runs.input_of(db, found.row.key)
    return page_of(input_items(found.row.public_id, given), limit=limit, order=order, after=after)


@router.delete("/responses/{response_id}")
async def delete_response(
    response_id: str, caller: SignedIn, services: WithServices
) -> dict[str, Any]:
    """Delete a response, with what went on from its questions; it is stopped, if need be."""
    found = await _found(services, caller, response_id)
    newest = found.newest
    await request_cancel(services, caller, thread_id=None, run_id=newest.public_id)
    async with services.db.locking(caller.user_id) as db:
        threads.lock(db, caller.user_id, newest.thread)
        runs.forget_responses(db, newest.thread_key, [one.key for one in found.rows])
    return {"id": response_id, "object": "response", "deleted": True}


@router.post("/responses/{response_id}/cancel")
async def cancel_response(response_id: str, caller: SignedIn, services: WithServices) -> Response:
    """Ask a response to stop; one that has ended stays as it is."""
    found = await _found(services, caller, response_id)
    identity = _identity(found.accepted, found.row.agent)
    if found.newest.status not in LIVE and not found.waits:
        raise bad("response_id", "this response has ended.")
    await request_cancel(services, caller, thread_id=None, run_id=found.newest.public_id)
    return _json(response(identity, "cancelled"), {})


def _check_form(wanted: Wanted, agent: dict[str, Any]) -> None:
    output = (agent.get("capabilities") or {}).get("output") or {}
    if wanted.wants_json and not output.get("structuredOutput"):
        raise bad("text.format", f"{agent['name']} answers with text: it has no output_type.")


async def _found(services: Services, caller: Caller, response_id: str) -> Found:
    async with services.db.reading(caller.user_id) as db:
        found = await find_response(db, caller, response_id)
    if found is None:
        raise BatonError(Code.NOT_FOUND, "There is no such response, or it is not yours.")
    return found


def _identity(accepted: Accepted, model: str, *, background: bool = False) -> Identity:
    return Identity(
        run=accepted.run_id, created_at=created_at(accepted), model=model, background=background
    )


def _served(
    request: Request,
    caller: Caller,
    accepted: Accepted,
    *,
    again: bool,
    anew: bool = False,
    needed: bool = False,
) -> Served:
    followers, site = request.app.state.followers, site_of(request, request.app.state.services)
    return Served(
        *(followers, caller, accepted),
        again=again,
        link=None,
        site=site,
        anew=anew,
        needed=needed,
    )


def _json(value: dict[str, Any], headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(value), headers=headers, media_type="application/json")
