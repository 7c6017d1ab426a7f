"""Accepting runs: SQL first, then the bell.

A run is accepted when SQL has committed it. All of it happens under the lock of the thread's row,
so that two messages at once, from any number of gateways, have one order.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import UUID

import orjson
from ag_ui.core import RunAgentInput
from psycopg import IntegrityError

from gateway.access import Visible, usable_agent, visible
from gateway.auth.caller import Caller
from gateway.client_tools import Tool
from gateway.decide import Decided, announce, decide
from gateway.intake import NewInput, Submission, examine, new_input, title_of
from gateway.limits import count_request, require_room
from gateway.questions import AskedError
from gateway.services import Services
from gateway.stopping import announce_stops
from gateway.store import interrupts, runs, threads
from gateway.store.attached import attach
from gateway.store.resumes import Named
from gateway.store.threads import ThreadRow
from shared.db.conversations import LIVE, RunStatus
from shared.db.direct import Transaction
from shared.db.line import ConnectionLostError
from shared.errors import BatonError, StoreAwayError
from shared.protocol.codes import Code
from shared.protocol.frames import IfBusy
from shared.protocol.ids import uuid7
from shared.protocol.position import START, Position
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import RUNS_ACCEPTED
from shared.telemetry.tracecontext import HEADER as TRACE_HEADER
from shared.telemetry.tracecontext import TRACE

log = get_logger(__name__)
T = TypeVar("T")

#: Each try loses to somebody who has committed meanwhile, so a few are plenty.
TRIES = 5
#: A connection that Postgres closed long ago fails at once; one that fails late is not tried again.
QUICK_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A run that SQL holds. `queued`: it waits for another run of its thread.

    `created` is false where the run was known already; `stopped` are the runs it interrupts.
    """

    run_key: UUID
    thread_key: UUID
    run_id: str
    thread_id: str
    agent: str
    status: str
    queued: bool
    created: bool
    #: The thread's newest settled event before this run existed.
    last: Position
    stopped: list[runs.Stopped] = field(default_factory=list)
    #: Open questions: so long as nobody decides them, nothing else goes on in the thread.
    waits_for: list[str] = field(default_factory=list)
    #: What came of the decisions that were sent.
    decided: Decided | None = None


class GoneOnError(BatonError):
    """A thread has a newer run than the one that was to be gone on from; nothing was stored."""

    def __init__(self) -> None:
        super().__init__(Code.CONFLICT, "The conversation has gone on since then.")


async def accept_run(
    services: Services,
    caller: Caller,
    *,
    thread_id: str,
    agent: str | None,
    input: RunAgentInput,  # noqa: A002
    if_busy: IfBusy = "enqueue",
    tools: Sequence[Tool] = (),
    site: str | None = None,
) -> Accepted:
    """Accept a run: store it with its messages, then wake a runner; or one that resumes another.

    The same `runId` with the same body is the same run, however often it comes. A thread that does
    not exist is made. `tools` are those of the client that the agent is offered; `site` is for who
    cannot wait behind a question.

    Raises:
        BatonError: BAD_INPUT, NOT_SUPPORTED, UNKNOWN_AGENT, NOT_FOUND (a deleted thread), CONFLICT,
            BUSY, DECISION_NEEDED; UNAVAILABLE where a store is away, and then nothing was stored.
    """
    sent = examine(thread_id=thread_id, agent=agent, input=input, if_busy=if_busy)
    return await accept(services, caller, replace(sent, tools=tuple(tools), site=site))


async def accept(services: Services, caller: Caller, sent: Submission) -> Accepted:
    """Accept a run that is well-formed; see `accept_run`.

    Raises:
        BatonError: as `accept_run`.
    """
    if not services.redis_ready():
        raise StoreAwayError("Redis")
    if sent.agent is not None:
        sent = replace(sent, agent=(await usable_agent(services, caller, sent.agent))["name"])
    agents = await visible(services, caller)
    await count_request(services, caller, agents, sent)
    key = uuid7()

    async def once() -> Accepted:
        async with services.db.locking(caller.user_id) as db:
            return await _store(services, db, caller, agents, key, sent)

    accepted = await _retried(once)
    if accepted.decided:
        announce(services, caller, accepted.decided)
    elif accepted.created:
        _after_commit(services, caller, accepted)
    return accepted


async def _store(
    services: Services,
    db: Transaction,
    caller: Caller,
    agents: Visible,
    key: UUID,
    sent: Submission,
) -> Accepted:
    """One transaction: thread, idempotency, files, messages, run."""
    user = caller.user_id
    thread, past = await _thread(db, user, sent)
    if past.known:
        return _same(past.known, key, thread, sent)
    if sent.verdicts:
        return await _resume(db, caller, agents, thread, past, sent)
    agent = sent.agent or thread.agent
    agents.require(agent)
    require_room(services, agents.about(agent), past.of_user)
    if past.asked and sent.site is not None:
        asks = await interrupts.open_under_lock(db, thread.key)
        raise AskedError(asks, thread.public_id, sent.site, kept=False)
    if sent.after is not None and await runs.newest(db, thread.key) != sent.after:
        raise GoneOnError
    new = new_input(sent, past.held)
    stopped: list[runs.Stopped] = []
    if past.busy and sent.if_busy == "reject":
        raise BatonError(Code.BUSY)
    if past.busy and sent.if_busy == "interrupt":
        stopping = runs.ask_to_stop(db, thread.key)
        if past.asked:
            interrupts.supersede(db, thread.key, by=caller.email)
        await db.run()
        stopped, past = stopping.rows, past._replace(asked=[])
    new = await attach(db, user, thread.key, new, quota=services.settings.files_quota_bytes)
    run = _run(user, key, thread, sent, new, ready=not past.busy)
    runs.accept(db, run)
    return Accepted(
        run_key=key,
        thread_key=thread.key,
        run_id=sent.run_id,
        thread_id=thread.public_id,
        agent=run.agent,
        status=RunStatus.QUEUED,
        queued=past.busy,
        created=True,
        last=thread.last,
        stopped=stopped,
        waits_for=past.asked,
    )


async def _resume(
    db: Transaction,
    caller: Caller,
    agents: Visible,
    thread: ThreadRow,
    past: runs.Before,
    sent: Submission,
) -> Accepted:
    """Record decisions; with the last one the run that they are about goes on, as `runId`.

    While something is left to decide, that run is what the answer speaks of.
    """
    if any(one.id not in past.held for one in sent.input.messages):
        raise BatonError(Code.NOT_SUPPORTED, "messages: a new one needs a run of its own.")
    named = Named(sent.run_id, sent.digest)
    decided = await decide(db, caller, agents, sent.verdicts, thread=thread.public_id, named=named)
    ended, made = decided.ended, decided.resumed
    return Accepted(
        run_key=made.key if made else ended.key,
        thread_key=thread.key,
        run_id=made.public_id if made else ended.public_id,
        thread_id=thread.public_id,
        agent=thread.agent,
        status=made.status if made else ended.status,
        queued=bool(made and made.status in LIVE and not made.ready),
        created=bool(made and made.created),
        last=thread.last,
        waits_for=decided.open,
        decided=decided,
    )


async def _thread(db: Transaction, user: UUID, sent: Submission) -> tuple[ThreadRow, runs.Before]:
    """The thread, locked, and what was before; made where it does not exist."""
    found = await _locked(db, user, sent)
    if found is None and not sent.verdicts:
        if sent.agent is None:
            raise BatonError(Code.BAD_INPUT, "agent: a new thread needs one.")
        made = threads.make(db, user, sent.thread_id, sent.agent, hidden=sent.hidden)
        past = runs.before(db, user, sent.thread_id, sent.run_id, sent.message_ids)
        await db.run()
        if made.row and past.row:
            return made.row, past.row
        # Somebody else made it a moment ago, and has committed it.
        found = await _locked(db, user, sent)
    if found is None or found[0].deleted_at:
        raise BatonError(Code.NOT_FOUND)
    return found


async def _locked(
    db: Transaction, user: UUID, sent: Submission
) -> tuple[ThreadRow, runs.Before] | None:
    """The thread's lock, and what its holder sees, in one round trip."""
    thread = threads.lock(db, user, sent.thread_id)
    past = runs.before(db, user, sent.thread_id, sent.run_id, sent.message_ids)
    await db.run()
    return (thread.row, past.row) if thread.row and past.row else None


def _same(known: runs.Known, key: UUID, thread: ThreadRow, sent: Submission) -> Accepted:
    """The run of this id was accepted before; the digest covers the thread too.

    If it has our own key, the commit's answer was lost, and this is the first that anybody hears.
    """
    if bytes(known.digest) != sent.digest:
        why = "A request with another content had this runId, or Idempotency-Key: take a new one."
        raise BatonError(Code.CONFLICT, why)
    return Accepted(
        run_key=known.key,
        thread_key=thread.key,
        run_id=sent.run_id,
        thread_id=thread.public_id,
        agent=known.agent,
        status=known.status,
        queued=known.status in LIVE and not known.ready,
        created=known.key == key,
        last=thread.last,
    )


def _run(
    user: UUID, key: UUID, thread: ThreadRow, sent: Submission, new: NewInput, *, ready: bool
) -> runs.NewRun:
    return runs.NewRun(
        key=key,
        public_id=sent.run_id,
        user=user,
        thread=thread.key,
        agent=sent.agent or thread.agent,
        ready=ready,
        message=new.messages[-1]["id"],
        messages=orjson.dumps(new.messages).decode(),
        input=orjson.dumps(new.record | _traced()).decode(),
        digest=sent.digest,
        project=thread.project_id,
        title=title_of(new.messages[len(sent.history)]),
    )


def _traced() -> dict[str, str]:
    """The trace that the run belongs to, where its request does."""
    trace = TRACE.get()
    return {TRACE_HEADER: trace.header} if trace else {}


async def _retried(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try again where somebody else made the same row first, or the pool held a dead connection.

    The run's key stays the same, so a commit whose answer was lost is recognised as the same run.
    """
    begun = time.monotonic()
    for _ in range(TRIES):
        try:
            return await attempt()
        except IntegrityError:
            log.info("a row was made by somebody else meanwhile")
        except ConnectionLostError:
            if time.monotonic() - begun > QUICK_S:
                raise
    raise BatonError(Code.CONFLICT)


def _after_commit(services: Services, caller: Caller, accepted: Accepted) -> None:
    RUNS_ACCEPTED.labels(accepted.agent).inc()
    log.info(
        "run accepted",
        run=accepted.run_id,
        thread=accepted.thread_id,
        agent=accepted.agent,
        queued=accepted.queued,
    )
    announce_stops(services, caller, accepted.thread_id, accepted.stopped)
    if accepted.last == START:  # a new thread, or its first words: other tabs list it now
        services.tell(caller.user_id, "thread", accepted.thread_id)
    if accepted.queued:
        services.tell(caller.user_id, "queue", accepted.thread_id)
    else:
        services.ring(accepted.run_key, accepted.thread_key)
