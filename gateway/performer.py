"""What a socket's client asks for, performed: subscriptions, runs, cancels.

A socket's rules are in connection.py; here is what its frames do to threads and listeners.
"""

from uuid import UUID

import orjson

from gateway.accept import Accepted, accept_run
from gateway.auth.caller import Caller
from gateway.connection import MOST_SUBSCRIPTIONS, cursor_of
from gateway.outgoing import Outgoing
from gateway.relay.listener import Listener, Sink
from gateway.relay.relay import Relay
from gateway.reset import read_reset
from gateway.services import Services
from gateway.stopping import request_cancel
from gateway.store import threads
from gateway.store.threads import ThreadRow
from shared.bus.connect import REDIS
from shared.db.engine import POSTGRES
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.frames import (
    Cancel,
    ClientFrame,
    Run,
    Subscribe,
    Unsubscribe,
    error_frame,
    frame,
)
from shared.protocol.position import Position
from shared.telemetry.logs import get_logger
from shared.telemetry.otlp import traced
from shared.web.errors import as_baton_error

log = get_logger(__name__)


class Performer:
    """Performs one client's wishes, one after another; its listeners deliver to `sink`."""

    __slots__ = ("_caller", "_listeners", "_out", "_relay", "_services", "_sink")

    def __init__(
        self, sink: Sink, out: Outgoing, caller: Caller, services: Services, relay: Relay
    ) -> None:
        self._sink, self._out, self._caller = sink, out, caller
        self._services, self._relay = services, relay
        self._listeners: dict[str, Listener] = {}

    async def perform(self, asked: ClientFrame) -> None:
        """Do what is asked; a refusal is an `error`, and the socket stays."""
        try:
            match asked:
                case Subscribe():
                    await self._subscribe(asked)
                case Unsubscribe():
                    await self._unsubscribe(asked)
                case Run():
                    with traced("run /realtime", asked.traceparent):
                        await self._run(asked)
                case Cancel():
                    await self._cancel(asked)
        except Exception as error:
            told = as_baton_error(error, (POSTGRES, REDIS))
            if told.code is Code.INTERNAL:
                log.exception("an op failed", op=asked.op)
            self._out.put(error_frame(told.code, told.message, id=asked.id))

    async def _subscribe(self, asked: Subscribe) -> None:
        try:
            after = cursor_of(asked.after)
        except ValueError:
            raise BatonError(Code.BAD_CURSOR, "after: this is not a cursor.") from None
        thread = await self._thread(asked.thread_id)
        if after is not None and after.fence > thread.fence:
            raise BatonError(Code.BAD_CURSOR, "after: this cursor lies in the future.")
        await self._leave(asked.thread_id)
        listener = await self._join(thread.key, thread.public_id)
        ack = frame("ack", id=asked.id)
        try:
            if after is None or not await self._continues(thread, after):
                await self.reset(listener, ack)
                return
        except BaseException:
            await self._leave(asked.thread_id)
            raise
        self._out.put(ack)
        listener.on_live = lambda: self._say_live(listener)
        self._relay.place(listener, after, "subscribe")

    async def _continues(self, thread: ThreadRow, after: Position) -> bool:
        """Whether a resend from a cursor has no hole: it is the newest, or the stream has it."""
        return after == thread.last or await self._relay.covers(thread.key, after)

    async def _unsubscribe(self, asked: Unsubscribe) -> None:
        if asked.thread_id not in self._listeners:
            await self._thread(asked.thread_id)
        await self._leave(asked.thread_id)
        self._out.put(frame("ack", id=asked.id))

    async def _run(self, asked: Run) -> None:
        if asked.input.thread_id not in self._listeners:
            self._make_sure_of_a_place()
        accepted = await accept_run(
            self._services,
            self._caller,
            thread_id=asked.input.thread_id,
            agent=asked.agent,
            input=asked.input,
            if_busy=asked.if_busy,
        )
        ack = frame(
            "ack",
            id=asked.id,
            run_id=accepted.run_id,
            queued=accepted.queued,
            waits_for=accepted.waits_for or None,
        )
        self._out.put(ack)
        if accepted.thread_id not in self._listeners:
            try:
                await self._follow(accepted)
            except Exception as error:  # noqa: BLE001 - the run stands, so the op has not failed
                log.warning("a run could not be followed", error=str(error))
                self._sink.broken()

    async def _follow(self, accepted: Accepted) -> None:
        listener = await self._join(accepted.thread_key, accepted.thread_id)
        if accepted.queued or not accepted.created:
            # Its RUN_STARTED is not the next event, so the client needs to know where we are.
            await self.reset(listener)
        else:
            self._relay.place(listener, accepted.last, "run")

    async def _cancel(self, asked: Cancel) -> None:
        await request_cancel(
            self._services, self._caller, thread_id=asked.thread_id, run_id=asked.run_id
        )
        self._out.put(frame("ack", id=asked.id))

    async def _thread(self, public_id: str) -> ThreadRow:
        async with self._services.db.reading(self._caller.user_id) as db:
            thread = await threads.find(db, self._caller.user_id, public_id)
        if thread is None:
            raise BatonError(Code.NOT_FOUND)
        return thread

    async def _join(self, key: UUID, public_id: str) -> Listener:
        self._make_sure_of_a_place()
        listener = Listener(self._sink, key, public_id)
        await self._relay.join(listener)
        self._listeners[public_id] = listener
        return listener

    def _make_sure_of_a_place(self) -> None:
        if len(self._listeners) >= MOST_SUBSCRIPTIONS:
            raise BatonError(Code.RATE_LIMITED, "This socket has too many subscriptions.")

    async def _leave(self, public_id: str) -> None:
        if listener := self._listeners.pop(public_id, None):
            await self._relay.leave(listener)

    async def reset(self, listener: Listener, ack: str | None = None) -> None:
        """Say where the thread stands, just after the `ack`, and go on from there.

        A reset may be long, so that it is read only when the client has taken what came before.
        """
        await self._out.drained()
        async with self._services.db.reading(self._caller.user_id) as db:
            cursor, fields = await read_reset(db, listener.thread)
        if self._listeners.get(listener.public_id) is not listener:
            return  # the client has unsubscribed meanwhile, or subscribed anew
        if ack is not None:
            self._out.put(ack)
        run = fields.pop("run")
        self._out.put(reset_frame(fields, run))
        listener.on_live = lambda: self._say_live(listener)
        self._relay.place(listener, cursor, "reset")

    def _say_live(self, listener: Listener) -> None:
        self._out.put(frame("live", thread_id=listener.public_id, cursor=str(listener.cursor)))

    async def leave_all(self) -> None:
        """End all subscriptions."""
        for listener in list(self._listeners.values()):
            await self._relay.leave(listener)


def reset_frame(fields: dict[str, object], run: dict[str, object]) -> str:
    """A `reset`; unlike other absent fields, `run` is null and not left out."""
    text = frame("reset", **fields)
    said = orjson.dumps(run or None).decode()
    return f'{text[:-1]},"run":{said}}}'
