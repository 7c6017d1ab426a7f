"""Following one run to its end, through lost connections and restarted gateways."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, assert_never

from agent.aside import aside
from agent.client import Gateway, part
from agent.errors import AwayError, CliError, RefusedError
from agent.realtime import LostError, Socket, connected
from agent.watch import Accepted, LookUp, Placed, Refused, Restarted, Say, Watch
from shared.protocol.codes import Code
from shared.protocol.position import START, Position, parse_position

#: After so much silence of all gateways the command gives up; the run does not.
GIVE_UP_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 3.0
PAGE = 1000
#: What a request may fail with while a gateway restarts.
PASSING = frozenset({"away", "timeout", "no_gateway", Code.UNAVAILABLE})
LIVE = frozenset({"queued", "running"})


@dataclass(frozen=True, slots=True)
class Away:
    """The connection is lost; it is being made anew."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The run has ended without an event that says so: it was cancelled before it began."""

    status: str


News = Placed | Accepted | Restarted | Away | Ended


async def follow(gateway: Gateway, watch: Watch) -> AsyncGenerator[News, None]:
    """What happens to a run, until it ends.

    Raises:
        CliError: the gateway refuses, or stays away.
    """
    pauses = Pauses(gateway.address.url, watch)
    while not watch.ended:
        try:
            async with connected(gateway.address, gateway.key) as socket:
                pauses.over()
                async with aclosing(_heard(gateway, watch, socket)) as heard:
                    async for news in heard:
                        yield news
        except LostError:
            pauses.fail()
            yield Away()
            await pauses.wait()


async def _heard(gateway: Gateway, watch: Watch, socket: Socket) -> AsyncGenerator[News, None]:
    """What one connection tells."""
    for frame in watch.opening():
        await socket.send(frame)
    while not watch.ended:
        for happening in watch.take(await socket.receive()):
            match happening:
                case Placed() | Accepted() | Restarted():
                    yield happening
                case Say(frame):
                    await socket.send(frame)
                case Refused():
                    _refuse(happening, watch)
                case LookUp():
                    for news in await looked_up(gateway, watch):
                        yield news
                case _:
                    assert_never(happening)


class Pauses:
    """How long to wait before the next try, and when to stop trying."""

    def __init__(self, url: str, watch: Watch) -> None:
        self._url, self._watch = url, watch
        self._next_s = FIRST_PAUSE_S
        self._since: float | None = None
        self._ever = False

    def over(self) -> None:
        """There is a connection."""
        self._since, self._ever, self._next_s = None, True, FIRST_PAUSE_S

    def fail(self) -> None:
        """There is none.

        Raises:
            CliError: there was none for too long, or not even once.
        """
        if not self._ever:
            raise AwayError(self._url)
        now = asyncio.get_running_loop().time()
        self._since = self._since or now
        if now - self._since > GIVE_UP_S:
            known = tail_command(self._watch.run_id, self._watch.cursor)
            raise CliError(
                f"The gateway at {self._url} has been away for {GIVE_UP_S:.0f} s.",
                f"The run does not need us; go on watching with: {known}"
                if self._watch.accepted
                else "Whether the message has arrived is not known; `baton runs` will tell.",
                code="away",
            )

    async def wait(self) -> None:
        """Wait a little, longer each time, and not in step with others."""
        await asyncio.sleep(self._next_s * random.uniform(0.5, 1))  # noqa: S311 - no secret
        self._next_s = min(self._next_s * 2, LONGEST_PAUSE_S)


async def looked_up(gateway: Gateway, watch: Watch) -> list[News]:
    """Ask REST whether the run has ended; if so, tell all of it from its first event.

    Raises:
        LostError: the gateway cannot say it now.
    """
    try:
        run = await aside(gateway.get, f"/api/runs/{part(watch.run_id)}")
        if run["status"] in LIVE:
            return []
        stored = await stored_events(gateway, watch.run_id, None)
    except CliError as error:
        if error.code in PASSING:
            raise LostError(error.code) from None
        raise
    found: list[News] = [Restarted(), *(watch.take_stored(*one) for one in stored)]
    if watch.ended:
        return found
    watch.ended = True
    return [*found, Ended(str(run["status"]))]


async def stored_events(
    gateway: Gateway, run_id: str, after: Position | None
) -> list[tuple[str, dict[str, Any]]]:
    """A run's events in SQL with their ids."""
    found: list[tuple[str, dict[str, Any]]] = []
    cursor = None if after is None else str(after)
    while True:
        page = await aside(
            gateway.get, f"/api/runs/{part(run_id)}/events", after=cursor, limit=PAGE
        )
        found += [(str(one["id"]), one["event"]) for one in page["data"]]
        cursor = page.get("next")
        if cursor is None:
            return found


@dataclass(frozen=True, slots=True)
class Followed:
    """A run that is watched from where somebody stands."""

    watch: Watch
    stored: list[Placed]
    earlier_calls: dict[str, str]  #: the tools that the runs which it resumes called, by call


async def watch_from(gateway: Gateway, run_id: str, after: Position | None) -> Followed:
    """Begin to watch a run that exists, with the stored events after a cursor.

    Raises:
        CliError: the run is unknown, or the cursor is not one of its thread's.
    """
    run = await aside(gateway.get, f"/api/runs/{part(run_id)}")
    stored = await stored_events(gateway, run_id, after)
    cursor = parse_position(stored[-1][0]) if stored else after
    begun = bool(stored) or await _begun_before(gateway, run_id, after)
    watch = Watch(str(run["threadId"]), str(run["id"]), cursor=cursor, begun=begun)
    placed = [watch.take_stored(*one) for one in stored]
    return Followed(watch, placed, await _calls_before(gateway, run))


async def _calls_before(gateway: Gateway, run: dict[str, Any]) -> dict[str, str]:
    """A resumed run shows results of calls that an earlier one has shown."""
    found: dict[str, str] = {}
    with suppress(CliError):  # what is too old is not kept, and names are not worth an end
        while parent := run.get("parentRunId"):
            run = await aside(gateway.get, f"/api/runs/{part(str(parent))}")
            for _, event in await stored_events(gateway, str(parent), None):
                if event.get("type") == "TOOL_CALL_START":
                    found[str(event.get("toolCallId"))] = str(event.get("toolCallName"))
    return found


async def _begun_before(gateway: Gateway, run_id: str, after: Position | None) -> bool:
    if after is None:
        return False
    path = f"/api/runs/{part(run_id)}/events"
    page = await aside(gateway.get, path, limit=1)
    first = parse_position(str(page["data"][0]["id"])) if page["data"] else None
    return first is not None and START < first <= after


def tail_command(run_id: str, cursor: Position | None) -> str:
    """How to go on watching."""
    return f"baton runs tail {run_id}" + (f" --after {cursor}" if cursor else "")


def _refuse(refusal: Refused, watch: Watch) -> None:
    """Raise; a store that is away is worth another try once the run is accepted."""
    if refusal.retryable and watch.accepted:
        raise LostError(refusal.code)
    raise RefusedError(refusal.code, refusal.message)
