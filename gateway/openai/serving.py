"""Serving one run to one HTTP request, in one piece or as a stream, whatever the shape."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Protocol, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from gateway.accept import Accepted
from gateway.auth.caller import Caller
from gateway.auth.origin import base_url
from gateway.following import Followers, Happening
from gateway.openai.answer import NOTHING, Added, Answer, Whole
from gateway.services import Services
from shared.db.engine import POSTGRES
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.telemetry.logs import get_logger
from shared.web.errors import as_baton_error

log = get_logger(__name__)
T = TypeVar("T")

#: A stream that is silent for this long says so; proxies close silent ones after 30 s or more.
KEEP_ALIVE_S = 15.0
#: A comment, which clients pass over.
KEEP_ALIVE = b": keep-alive\n\n"
#: A client that takes nothing for this long is gone, or hostile; its run goes on.
STUCK_S = 30.0


class Writer(Protocol):
    """The lines of a stream, in one of OpenAI's shapes."""

    def opening(self) -> bytes:
        """What comes before all else."""
        ...

    def happened(self, one: Happening, added: Added) -> bytes:
        """An event of the run, and what it adds to the answer; perhaps nothing."""
        ...

    def closing(self, whole: Whole) -> bytes:
        """The end of a whole answer."""
        ...

    def failed(self, error: BatonError) -> bytes:
        """The end of one that is not whole."""
        ...


class Served:
    """One run, told to one caller.

    `again`: the same request may be sent again, and joins it; `link`: where its questions are
    decided, for those who read them in the text; `site`: our own address, for links to files;
    `anew`: the events are wanted as they were, as long as they exist; `needed`: the run goes on for
    this caller alone, who stops it by leaving.
    """

    def __init__(
        self,
        followers: Followers,
        caller: Caller,
        accepted: Accepted,
        *,
        again: bool,
        link: str | None,
        site: str,
        anew: bool = False,
        needed: bool = False,
    ) -> None:
        self._followers, self._caller, self._accepted = followers, caller, accepted
        self._again, self._link, self._anew = again, link, anew
        self._site, self._needed = site, needed

    async def whole(self) -> Whole:
        """The whole answer.

        Raises:
            BatonError: the run's own error, or UNAVAILABLE.
        """
        answer = Answer(streamed=False, link=self._link, site=self._site)
        try:
            follow = self._followers.following(self._caller, self._accepted, site=self._site)
            with self._present(answer):
                async with follow as following:
                    while not answer.ended:
                        for one in await following.next(KEEP_ALIVE_S) or ():
                            _feed(answer, one)
            return answer.whole
        except Exception as error:  # noqa: BLE001 - whatever it is, the run stands
            raise self._told(error) from None

    async def stream(self, writer: Writer) -> AsyncGenerator[bytes]:
        """The answer as it comes. What goes wrong before the first byte is raised."""
        opened = False
        try:
            async with aclosing(self._lines(writer)) as lines:
                async for said in lines:
                    yield said if opened else writer.opening() + said
                    opened = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the stream has to end
            told = self._told(error)
            if not opened:
                raise told from None
            yield writer.failed(told)

    async def _lines(self, writer: Writer) -> AsyncGenerator[bytes]:
        answer = Answer(streamed=True, link=self._link, site=self._site)
        follow = self._followers.following(
            self._caller, self._accepted, site=self._site, anew=self._anew
        )
        with self._present(answer):
            async with follow as following:
                while not answer.ended:
                    happened = await following.next(KEEP_ALIVE_S)
                    if happened is None:
                        yield KEEP_ALIVE
                        continue
                    said = b"".join(writer.happened(one, _feed(answer, one)) for one in happened)
                    if said:
                        yield said
                yield writer.closing(answer.whole)

    @contextmanager
    def _present(self, answer: Answer) -> Iterator[None]:
        """The time in which the client is there, perhaps until it leaves."""
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            if self._needed and not answer.ended:
                self._followers.abandon(self._caller, self._accepted)
            raise

    def _told(self, error: Exception) -> BatonError:
        """The run stands, and can be found; who asks again without a key would begin another."""
        told = as_baton_error(error, (POSTGRES,))
        told.details |= {"run": self._accepted.run_id, "thread": self._accepted.thread_id}
        if told.code is Code.INTERNAL and not isinstance(error, BatonError):
            log.error("a run could not be followed", exc_info=error)
        if not self._again:
            told.details["repeatable"] = False
        return told


def _feed(answer: Answer, one: Happening) -> Added:
    return NOTHING if one.passed else answer.feed(one.event)


def site_of(request: Request, services: Services) -> str:
    """Where people reach us."""
    return base_url(request, services.settings)


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


async def begun(
    request: Request, lines: AsyncGenerator[bytes], headers: dict[str, str]
) -> Response:
    """A stream that has something to say; until then an error is an answer with its own status."""
    try:
        first = await unless_gone(request, _first(lines))
    except BaseException:
        await lines.aclose()
        raise

    async def all_lines() -> AsyncIterator[bytes]:
        async with aclosing(lines):
            yield first
            async for said in lines:
                yield said

    no_buffer = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return EventStream(all_lines(), headers=headers | no_buffer)


async def _first(lines: AsyncGenerator[bytes]) -> bytes:
    return await anext(lines, b"")


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
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
