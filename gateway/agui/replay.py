"""A thread as it stands, for a client that has nothing of it."""

from dataclasses import dataclass
from typing import Any

import orjson
from ag_ui.core import PROTOCOL_VERSION

from gateway.accept import Accepted
from gateway.access import visible
from gateway.auth.caller import Caller
from gateway.services import Services
from gateway.store import events, runs, threads
from gateway.store.messages import path_messages, waiting_messages
from gateway.store.runs import RunRow
from shared.db.conversations import LIVE
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import new_run_id

#: Older messages are read by REST.
MESSAGES = 1000


@dataclass(frozen=True, slots=True)
class Replay:
    """What there is: the conversation, how its last run ended, and the one that goes on."""

    thread: str
    run: str
    messages: list[dict[str, Any]]
    end: dict[str, Any]
    live: Accepted | None

    @property
    def snapshot(self) -> dict[str, Any]:
        """The conversation."""
        return {"type": "MESSAGES_SNAPSHOT", "messages": self.messages}

    def whole(self) -> list[dict[str, Any]]:
        """All of it, where nothing goes on."""
        ids = {"threadId": self.thread, "runId": self.run}
        start = {"type": "RUN_STARTED", **ids, "protocolVersion": PROTOCOL_VERSION}
        return [start, self.snapshot, self.end]


async def replay_of(services: Services, caller: Caller, *, agent: str, thread: str) -> Replay:
    """Read a thread of the caller's with this agent.

    Raises:
        BatonError: NOT_FOUND; UNKNOWN_AGENT for one that the caller may not use.
    """
    agents = await visible(services, caller)
    async with services.db.seeing(caller.user_id) as db:
        found = await threads.find(db, caller.user_id, thread)
        if found is None or found.agent != agents.name_of(agent):
            raise BatonError(Code.NOT_FOUND)
        agents.require(found.agent)
        path = await path_messages(db, found.key, found.head, MESSAGES)
        waiting = await waiting_messages(db, found.key)
        recent = await runs.page(db, caller.user_id, limit=50, thread=thread)
        # The one whose turn it is; others wait behind it.
        live = next((row for row in reversed(recent) if row.status in LIVE), None)
        ended = next((row for row in recent if row.status not in LIVE), None)
        end = await events.last_of(db, ended.key) if ended and live is None else None
    run = ended.public_id if ended else new_run_id()
    return Replay(
        thread=found.public_id,
        run=run,
        messages=[*path.messages, *waiting],
        end=_end(orjson.loads(end) if end else {}, found.public_id, run),
        live=_accepted(live, found) if live else None,
    )


def _end(stored: dict[str, Any], thread: str, run: str) -> dict[str, Any]:
    """How the last run ended, with what it asks people; a replay itself never fails."""
    ids = {"threadId": thread, "runId": run}
    if stored.get("type") == "RUN_FINISHED":
        return stored | ids
    return {"type": "RUN_FINISHED", **ids, "outcome": {"type": "success"}}


def _accepted(row: RunRow, thread: threads.ThreadRow) -> Accepted:
    return Accepted(
        run_key=row.key,
        thread_key=thread.key,
        run_id=row.public_id,
        thread_id=thread.public_id,
        agent=row.agent,
        status=row.status,
        queued=not row.ready,
        created=False,
        last=thread.last,
    )
