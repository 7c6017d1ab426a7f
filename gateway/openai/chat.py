"""`POST /v1/chat/completions`: one answer of an agent, in one piece or as a stream."""

from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.accept import Accepted, accept
from gateway.api.routing import SignedIn, StrictRoute, WithServices
from gateway.auth.caller import Caller
from gateway.openai.asked import Asked, bad, idempotency_key, read_request
from gateway.openai.completion import Chunks, Identity, completion
from gateway.openai.models import agent_of
from gateway.openai.resuming import resuming
from gateway.openai.serving import Served, begun, site_of, unless_gone
from gateway.openai.submit import submission
from gateway.openai.tools import CHAT
from gateway.questions import page_of
from gateway.services import Services
from gateway.store import threads
from shared.errors import BatonError
from shared.protocol.codes import Code

router = APIRouter(prefix="/v1", route_class=StrictRoute, include_in_schema=False)


@router.post("/chat/completions")
async def create_chat_completion(
    request: Request, caller: SignedIn, services: WithServices
) -> Response:
    """An answer of an agent: to a conversation that comes along, or in a durable thread."""
    body = await request.json()
    asked, key = read_request(body, request.headers), idempotency_key(request.headers)
    agent = await agent_of(services, caller, asked.model)
    check_form(asked, agent)
    asked, tools = CHAT.read(asked, agent)
    site = site_of(request, services)
    sent = await resuming(services, caller, asked, body, agent=agent["name"], key=key)
    if sent is None:
        check_instructions(asked, agent)
        name = agent["name"]
        sent = submission(caller, asked, body, agent=name, key=key, site=site, tools=tools)
        if not sent.hidden:
            await require_thread(services, caller, sent.thread_id)
    accepted = await accept(services, caller, sent)
    link, again = page_of(site, accepted.thread_id), key is not None
    followers = request.app.state.followers
    needed = caller.cancel_on_disconnect and not again
    served = Served(followers, caller, accepted, again=again, link=link, site=site, needed=needed)
    identity = Identity(
        id=f"chatcmpl-{accepted.run_id}", created=created_at(accepted), model=asked.model
    )
    headers = headers_of(accepted, asked)
    if asked.stream:
        events = request.headers.get("baton-events") == "1"
        chunks = Chunks(identity, include_usage=asked.include_usage, events=events)
        return await begun(request, served.stream(chunks), headers)
    answer = orjson.dumps(completion(identity, await unless_gone(request, served.whole())))
    return Response(answer, headers=headers, media_type="application/json")


def check_form(asked: Asked, agent: dict[str, Any]) -> None:
    """Only an agent's own `output_type` decides about the form of its answers.

    Raises:
        BatonError: BAD_INPUT.
    """
    output = (agent.get("capabilities") or {}).get("output") or {}
    if asked.wants_json and not output.get("structuredOutput"):
        raise bad("response_format", f"{agent['name']} answers with text: it has no output_type.")


def check_instructions(asked: Asked, agent: dict[str, Any], *, place: str | None = None) -> None:
    """Some agents let nobody add to their instructions; `place` has them, else the messages.

    Raises:
        BatonError: NOT_SUPPORTED.
    """
    custom = (agent.get("capabilities") or {}).get("custom") or {}
    if asked.instructions and custom.get("clientInstructions") is False:
        why = f"{agent['name']} takes no instructions (system, developer) from its callers."
        place = place or asked.place
        raise BatonError(Code.NOT_SUPPORTED, f"{place}: {why}", param=place)


async def require_thread(services: Services, caller: Caller, thread: str) -> None:
    """Raise NOT_FOUND unless the thread is there, and the caller's. Who names it wants it kept."""
    async with services.db.reading(caller.user_id) as db:
        was_hidden = await threads.keep(db, caller.user_id, thread)
    if was_hidden is None:
        raise BatonError(Code.NOT_FOUND, "There is no such thread, or it is not yours.")
    if was_hidden:
        services.tell(caller.user_id, "thread", thread)


def created_at(accepted: Accepted) -> int:
    """When the run was accepted, in seconds since the epoch: its key is a uuid7."""
    return (accepted.run_key.int >> 80) // 1000


def headers_of(accepted: Accepted, asked: Asked) -> dict[str, str]:
    """Where the run can be found, and what had no effect."""
    headers = {"baton-run": accepted.run_id, "baton-thread": accepted.thread_id}
    return headers | ({"baton-ignored": ", ".join(asked.ignored)} if asked.ignored else {})
