"""`POST /v1/chat/completions`: one answer of an agent, in one piece or as a stream."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from gateway.accept import Accepted, accept
from gateway.api.routing import SignedIn, StrictRoute, WithServices
from gateway.auth.caller import Caller
from gateway.auth.origin import base_url
from gateway.following import Followers
from gateway.openai.answer import Answer, Ended
from gateway.openai.asked import Asked, bad, idempotency_key, read_request
from gateway.openai.completion import KEEP_ALIVE, Chunks, Identity, completion, line
from gateway.openai.errors import error_object, openai_status
from gateway.openai.models import agent_of
from gateway.openai.submit import submission
from gateway.services import Services
from gateway.store import threads
from shared.db.engine import POSTGRES
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.telemetry.logs import get_logger
from shared.web.errors import as_baton_error

log = get_logger(__name__)
router = APIRouter(prefix="/v1", route_class=StrictRoute, include_in_schema=False)
T = TypeVar("T")

#: A stream that is silent for this long says so; proxies close silent ones after 30 s or more.
KEEP_ALIVE_S = 15.0
#: A client that takes nothing for this long is gone, or hostile; its run goes on.
STUCK_S = 30.0


@router.post("/chat/completions")
async def create_chat_completion(
    request: Request, caller: SignedIn, services: WithServices
) -> Response:
    """An answer of an agent: to a conversation that comes along, or in a durable thread."""
    body = await request.json()
    asked, key = read_request(body, request.headers), idempotency_key(request.headers)
    agent = await agent_of(services, asked.model)
    _check_form(asked, agent)
    sent = submission(caller, asked, body, agent=agent["name"], key=key)
    if not sent.hidden:
        await _require_thread(services, caller, sent.thread_id)
    accepted = await accept(services, caller, sent)
    link = f"{base_url(request, services.settings)}/api/runs/{accepted.run_id}/approvals"
    served = _Served(
        *(request.app.state.followers, caller, accepted, asked), again=key is not None, link=link
    )
    headers = _headers(accepted, asked)
    if asked.stream:
        events = request.headers.get("baton-events") == "1"
        return await _begun(served.stream(events=events), headers)
    answer = await _unless_gone(request, served.whole())
    return Response(orjson.dumps(answer), headers=headers, media_type="application/json")


def _check_form(asked: Asked, agent: dict[str, Any]) -> None:
    output = (agent.get("capabilities") or {}).get("output") or {}
    if asked.wants_json and not output.get("structuredOutput"):
        raise bad("response_format", f"{agent['name']} answers with text: it has no output_type.")


async def _require_thread(services: Services, caller: Caller, thread: str) -> None:
    async with services.db.reading(caller.user_id) as db:
        if await threads.find(db, caller.user_id, thread) is None:
            raise BatonError(Code.NOT_FOUND, "There is no such thread, or it is not yours.")


def _headers(accepted: Accepted, asked: Asked) -> dict[str, str]:
    """Where the run can be found, and what had no effect."""
    headers = {"baton-run": accepted.run_id, "baton-thread": accepted.thread_id}
    return headers | ({"baton-ignored": ", ".join(asked.ignored)} if asked.ignored else {})


class _Served:
    """One run, told to one caller.

    `again`: the same request may be sent again, and joins it; `link`: where its questions are
    decided.
    """

    def __init__(
        self,
        followers: Followers,
        caller: Caller,
        accepted: Accepted,
        asked: Asked,
        *,
        again: bool,
        link: str,
    ) -> None:
        self._followers, self._caller, self._accepted = followers, caller, accepted
        self._asked, self._again, self._link = asked, again, link
        self._identity = Identity(
            id=f"chatcmpl-{accepted.run_id}",
            created=(accepted.run_key.int >> 80) // 1000,  # uuid7: milliseconds
            model=asked.model,
        )

    async def whole(self) -> dict[str, Any]:
        """The answer in one piece.

        Raises:
            BatonError: the run's own error, or UNAVAILABLE.
        """
        answer = Answer(streamed=False, link=self._link)
        try:
            async with self._followers.following(self._caller, self._accepted) as following:
                while answer.ended is None:
                    for one in await following.next(KEEP_ALIVE_S) or ():
                        answer.feed(one.event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run stands
            raise self._told(error) from None
        ended = _succeeded(answer.ended)
        return completion(self._identity, answer.text, ended.usage)

    async def stream(self, *, events: bool) -> AsyncIterator[bytes]:
        """The answer as it comes. What goes wrong before the first byte is raised."""
        chunks = Chunks(self._identity, include_usage=self._asked.include_usage)
        opened = False
        try:
            async for said in self._lines(chunks, events=events):
                yield said if opened else chunks.opening() + said
                opened = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the stream has to end
            told = self._told(error)
            if not opened:
                raise told from None
            status = openai_status(told.status)
            yield line({"error": error_object(told, status)})

    async def _lines(self, chunks: Chunks, *, events: bool) -> AsyncIterator[bytes]:
        answer = Answer(streamed=True, link=self._link)
        async with self._followers.following(self._caller, self._accepted) as following:
            while answer.ended is None:
                happened = await following.next(KEEP_ALIVE_S)
                if happened is None:
                    yield KEEP_ALIVE
                    continue
                said: list[bytes] = []
                for one in happened:
                    if events and not answer.shows(one.event):
                        said.append(chunks.happened(one))
                    if text := answer.feed(one.event):
                        said.append(chunks.text(text))
                if answer.ended is not None and answer.ended.error is None:
                    said.append(chunks.closing(answer.ended.usage))
                if said:
                    yield b"".join(said)
        _succeeded(answer.ended)

    def _told(self, error: Exception) -> BatonError:
        """The run stands: who asks again without a key would begin another one."""
        told = as_baton_error(error, (POSTGRES,))
        if told.code is Code.INTERNAL and not isinstance(error, BatonError):
            log.error("a run could not be followed", exc_info=error)
        if not self._again:
            told.details["repeatable"] = False
        return told


def _succeeded(ended: Ended) -> Ended:
    if ended.error is not None:
        raise ended.error
    return ended


class EventStream(StreamingResponse):
    """Closes what it reads from, also where the client has gone before the first line."""

    media_type = "text/event-stream"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it to a client that reads."""

        async def patiently(message: Message) -> None:
            try:
                async with asyncio.timeout(STUCK_S):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().__call__(scope, receive, patiently)


async def _begun(lines: AsyncIterator[bytes], headers: dict[str, str]) -> Response:
    """A stream that has something to say; until then an error is an answer with its own status."""
    first = await anext(lines)

    async def all_lines() -> AsyncIterator[bytes]:
        async with aclosing(lines):  # type: ignore[type-var]
            yield first
            async for said in lines:
                yield said

    no_buffer = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return EventStream(all_lines(), headers=headers | no_buffer)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, unless nobody waits for it any more."""
    working = asyncio.create_task(work, name="answer")
    leaving = asyncio.create_task(_left(request), name="client")
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
