"""Following one run to its end, for answers over HTTP: through the relay, as sockets do.

Who leaves stops nothing: the run goes on, and may be followed again from its beginning, at any
gateway.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accept import Accepted
from gateway.auth.caller import Caller
from gateway.inbox import Inbox
from gateway.questions import AskedError
from gateway.relay.listener import Listener
from gateway.relay.relay import Relay
from gateway.services import Services
from gateway.stopping import request_cancel
from gateway.store import interrupts, runs
from gateway.store.interrupts import InterruptRow
from gateway.store.messages import messages_made
from gateway.store.runs import RunRow
from shared.db.conversations import LIVE, RunStatus
from shared.db.interrupts import InterruptStatus
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.position import Position

#: What a client makes of it: everything that the run has said is said anew from here on.
_ALL_ANEW: dict[str, Any] = {"type": "MESSAGES_SNAPSHOT", "messages": []}
_OUTCOMES = {
    RunStatus.FINISHED: "success",
    RunStatus.CANCELLED: "cancelled",
    RunStatus.INTERRUPTED: "interrupt",
}


class Happening(NamedTuple):
    """An event of the run; `at` is its position, where it is one of the stream's.

    `passed`: the end of a run that another one has gone on with, which ends nothing here.
    """

    event: dict[str, Any]
    at: str | None = None
    passed: bool = False


class Followers:
    """All runs that answers of this gateway follow just now."""

    def __init__(self, services: Services, relay: Relay) -> None:
        self._services, self._relay = services, relay
        self._open: set[Inbox] = set()
        #: How many follow each run here.
        self._followed: Counter[UUID] = Counter()
        self._stops = False

    def end_all(self) -> None:
        """This gateway stops: who still follows is told to ask again, and so is who comes."""
        self._stops = True
        for inbox in list(self._open):
            inbox.end(_stopping())

    @asynccontextmanager
    async def following(
        self,
        caller: Caller,
        accepted: Accepted,
        *,
        site: str,
        anew: bool = False,
        kind: Callable[..., "Following"] | None = None,
    ) -> AsyncIterator["Following"]:
        """Follow an accepted run from its beginning.

        `site`: our own address; `anew`: also of a run that has ended all events are told as they
        were, while they exist. `kind` may see it otherwise than `Following`.

        Raises:
            BatonError: UNAVAILABLE; NOT_FOUND where its thread was deleted; DECISION_NEEDED where
                it stands behind a question.
        """
        self._followed[accepted.run_key] += 1
        inbox = Inbox()
        listener = Listener(inbox, accepted.thread_key, accepted.thread_id)
        self._open.add(inbox)
        if self._stops:
            inbox.end(_stopping())
        try:
            await self._relay.join(listener)
            made = kind or Following
            following = made(self._services, self._relay, caller, accepted, listener, inbox, site)
            await following.begin(anew=anew)
            yield following
        finally:
            self._open.discard(inbox)
            self._followed[accepted.run_key] -= 1
            if not self._followed[accepted.run_key]:
                del self._followed[accepted.run_key]
            inbox.end(_stopping())
            # Not awaited: whoever is cancelled here could not wait for Redis any more.
            self._services.background.start(self._relay.leave(listener), "leave a run")

    def abandon(self, caller: Caller, accepted: Accepted) -> None:
        """Nobody needs a run's answer any more: stop it, unless somebody else here follows it.

        A gateway that stops has let its clients go itself.
        """
        if self._stops or self._followed[accepted.run_key]:
            return
        self._services.background.start(self._stop(caller, accepted), "stop a run that was left")

    async def _stop(self, caller: Caller, accepted: Accepted) -> None:
        await request_cancel(self._services, caller, thread_id=None, run_id=accepted.run_id)


class Following:
    """The events of one run, in order, each once."""

    def __init__(
        self,
        services: Services,
        relay: Relay,
        caller: Caller,
        accepted: Accepted,
        listener: Listener,
        inbox: Inbox,
        site: str,
    ) -> None:
        self._services, self._relay, self._caller = services, relay, caller
        self._accepted, self._listener, self._inbox = accepted, listener, inbox
        self._site = site
        self._stored: list[Happening] = []
        #: The run that is followed now: the accepted one, or one that goes on with it.
        self._run_id, self._begun = accepted.run_id, False
        #: Those that have gone on after it, in order.
        self._later: list[str] = []

    async def begin(self, *, anew: bool) -> None:
        """Stand just before RUN_STARTED."""
        if self._accepted.created:
            self._relay.place(self._listener, self._accepted.last, "run")
        else:
            await self._from_the_beginning(anew=anew)

    async def next(self, within_s: float) -> list[Happening] | None:
        """What happened since; `None` after so many seconds of silence.

        Raises:
            BatonError: UNAVAILABLE: the rest has to be asked for again; DECISION_NEEDED: the run
                before it has asked something, and this one is kept behind that.
        """
        if self._stored:
            stored, self._stored = self._stored, []
            return stored
        taken = await self._inbox.take(within_s)
        if taken is None:
            return None
        happened = list(map(_happening, taken.frames))
        if not self._begun and any(_asks(one.event) for one in happened):
            async with self._services.db.reading(self._caller.user_id) as db:
                await self._require_turn(db, await self._run(db, self._run_id))
        found = [self._passed(one) for one in happened if self._is_mine(one.event)]
        if taken.restart:
            found.append(Happening(_ALL_ANEW))
            await self._from_the_beginning()
        return found

    def _is_mine(self, event: dict[str, Any]) -> bool:
        """A thread has one run at a time; of those before it, nothing is told."""
        if event["type"] == "RUN_STARTED":
            self._begun = event["runId"] == self._run_id
        return self._begun

    def _passed(self, one: Happening) -> Happening:
        """The same, unless it ends a run that is known to have been gone on with."""
        if not self._later or one.event["type"] not in ("RUN_FINISHED", "RUN_ERROR"):
            return one
        self._run_id, self._begun = self._later.pop(0), False
        return one._replace(passed=True)

    async def _from_the_beginning(self, *, anew: bool = False) -> None:
        """From the stream while it runs; from what SQL keeps for good once it has ended."""
        accepted = self._accepted
        told: list[dict[str, Any]] = []
        async with self._services.db.reading(self._caller.user_id) as db:
            rows = [await self._run(db, accepted.run_id)]
            while rows[-1].resumed_by:
                rows.append(await self._run(db, rows[-1].resumed_by))
            last = rows[-1]
            await self._require_turn(db, last)
            whole = anew and all(one.first_fence is not None for one in rows[:-1])
            relayed = last.status in LIVE or (whole and last.first_fence is not None)
            followed = rows if whole else rows[-1:]
            for row in rows if not relayed else [] if whole else rows[:-1]:
                told += _said(await messages_made(db, row.thread_key, row.key))
            if not relayed:
                told.append(_end(last, await interrupts.of_run(db, last.key)))
        first, *later = followed
        self._run_id, self._begun = first.public_id, False
        self._later = [one.public_id for one in later]
        self._stored = [Happening(event) for event in told]
        if relayed:
            begun = first.first_fence
            cursor = accepted.last if begun is None else Position(begun, 0)
            self._relay.place(self._listener, cursor, "run")

    async def _require_turn(self, db: AsyncConnection, row: RunRow) -> None:
        """Raise DECISION_NEEDED where nobody knows when the run has its turn."""
        if row.status != RunStatus.QUEUED or row.ready or row.resumes:
            return
        if asks := await interrupts.open_of(db, row.thread_key):
            raise AskedError(asks, row.thread, self._site, kept=True)

    async def _run(self, db: AsyncConnection, run: str) -> RunRow:
        row = await runs.find(db, self._caller.user_id, run)
        if row is None:
            raise BatonError(Code.NOT_FOUND)
        return row


def _happening(frame: str) -> Happening:
    told = orjson.loads(frame)
    return Happening(told["event"], told["id"])


def _asks(event: dict[str, Any]) -> bool:
    """Whether an event ends a run with questions."""
    outcome = event.get("outcome") or {}
    return bool(event["type"] == "RUN_FINISHED" and outcome.get("type") == "interrupt")


def _said(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The least that a run which has ended could have said."""
    found: list[dict[str, Any]] = []
    for message in messages:
        shared = {"messageId": message["id"], "role": message["role"]}
        if "metadata" in message:
            shared["metadata"] = message["metadata"]
        if message["role"] == "assistant" and message.get("content"):
            found.append({"type": "TEXT_MESSAGE_CHUNK", "delta": message["content"], **shared})
        elif message["role"] == "tool":
            found.append({"type": "TOOL_CALL_RESULT", "content": message["content"], **shared})
    return found


def _end(row: RunRow, asked: Sequence[InterruptRow]) -> dict[str, Any]:
    """And how it ended."""
    usage = {"usage": row.usage} if row.usage else {}
    if row.status == RunStatus.FAILED:
        code, message = row.error_code, row.error_message or ""
        return {"type": "RUN_ERROR", "code": code, "message": message, **usage}
    outcome: dict[str, Any] = {"type": _OUTCOMES[RunStatus(row.status)]}
    if asked and called_off(row, asked):
        outcome = {"type": "cancelled"}
    elif asked:
        outcome["interrupts"] = [
            {
                "id": one.id,
                "reason": one.reason,
                "metadata": {
                    "baton": {"tool": one.tool, "agent": one.agent, "arguments": one.arguments}
                },
            }
            for one in asked
            if one.status == InterruptStatus.OPEN
        ]
    return {"type": "RUN_FINISHED", "outcome": outcome, **usage}


def called_off(row: RunRow, asked: Sequence[InterruptRow]) -> bool:
    """Whether nobody will ever decide what a run waits for."""
    superseded = any(one.status == InterruptStatus.SUPERSEDED for one in asked)
    return superseded and row.resumed_by is None


def _stopping() -> BatonError:
    return BatonError(Code.UNAVAILABLE, "This gateway stops. Ask again; another one serves you.")
