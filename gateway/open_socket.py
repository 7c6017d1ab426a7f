"""One open socket: it performs what its client asks, and is where its listeners deliver.

Its rules are in connection.py, its buffer in outgoing.py; this is the shell around both. It has a
task only while it performs something, and takes the client's frames one after another.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import orjson

from gateway.accept import Accepted, accept_run, request_cancel
from gateway.auth.caller import Caller
from gateway.connection import (
    MOST_SUBSCRIPTIONS,
    CloseWith,
    Connection,
    Perform,
    Send,
    cursor_of,
)
from gateway.outgoing import Outgoing
from gateway.relay.listener import Listener
from gateway.relay.relay import Relay
from gateway.reset import read_reset
from gateway.services import Services
from gateway.store import threads
from gateway.store.threads import ThreadRow
from shared.bus.connect import REDIS
from shared.bus.keys import user_channel
from shared.db.engine import POSTGRES
from shared.errors import BatonError
from shared.protocol.codes import Close, Code
from shared.protocol.frames import (
    HEARTBEAT_MS,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    Cancel,
    ClientFrame,
    Run,
    Subscribe,
    Unsubscribe,
    error_frame,
    frame,
)
from shared.protocol.position import Position
from shared.telemetry.logs import bound, get_logger, user_hash
from shared.telemetry.metrics import SOCKETS_CLOSED
from shared.web.errors import as_baton_error
from shared.web.wire import Wire

log = get_logger(__name__)


class Socket:
    """One open socket: the sink of its listeners, and the performer of its client's wishes."""

    __slots__ = (
        *(
            "_listeners",
            "_op",
            "_over",
            "_request_id",
            "_stays",
            "_wire",
            "caller",
            "out",
            "relay",
            "rules",
        ),
        "services",
    )

    def __init__(
        self,
        wire: Wire,
        caller: Caller,
        services: Services,
        relay: Relay,
        *,
        over: Callable[["Socket"], None],
    ) -> None:
        self._wire, self.caller = wire, caller
        self.services, self.relay, self._over = services, relay, over
        self.rules = Connection(now=time.monotonic(), expires_at=_monotonic(caller.expires_at))
        self.out = Outgoing(wire, self.close)
        self._listeners: dict[str, Listener] = {}
        self._op: asyncio.Task[None] | None = None
        self._request_id = ""
        self._stays = True
        wire.receiver = self

    # ------------------------------------------------------------------ life
    async def begin(self, request_id: str) -> None:
        """Welcome the client; from then on it is heard."""
        self._request_id = request_id
        try:
            await self.relay.listen_to(user_channel(self.caller.user_id), self)
        except BaseException:
            self.broken()
            raise
        self.out.put(self._welcome())
        self._wire.go_on()

    def look(self, now: float) -> None:
        """End what is overdue, ping what is silent; called about once a second."""
        if overdue := self.rules.overdue(now=now):
            self.close(overdue.code, overdue.why)
        self.out.look(now)
        self._wire.look(now)

    def close(self, code: Close, why: str) -> None:
        """End the socket; the first reason counts."""
        if not self._wire.closing:
            SOCKETS_CLOSED.labels(int(code)).inc()
            self.out.stop()
            self._wire.close(int(code), why)

    async def leave(self) -> None:
        """Take nothing more, finish what was asked, and close when the client has the answer."""
        self._stays = False
        if self._op is not None:
            await asyncio.wait([self._op])
        await self.out.drained()
        self.close(Close.RESTARTING, "this gateway stops; connect again")

    def lost(self) -> None:
        """See Receiver."""
        self._over(self)
        self.out.stop()
        self.services.background.start(self._leave_all(), "leave a socket")

    async def _leave_all(self) -> None:
        if self._op is not None:  # what it does stands; but it may have joined a thread
            await asyncio.wait([self._op])
        for listener in list(self._listeners.values()):
            await self.relay.leave(listener)
        await self.relay.ignore(user_channel(self.caller.user_id), self)

    def _welcome(self) -> str:
        return frame(
            "welcome",
            version=PROTOCOL_VERSION,
            user={"id": str(self.caller.user_id), "email": self.caller.email},
            heartbeat_ms=HEARTBEAT_MS,
            max_frame_bytes=MAX_FRAME_BYTES,
        )

    # ------------------------------------------------------------------ the wire's side
    def received(self, message: str | None) -> None:
        """See Receiver."""
        if not self._stays:
            return  # no answer will come, so that the client asks elsewhere
        action = self.rules.received(message, now=time.monotonic())
        match action:
            case Send(frame=answer):
                self.out.put(answer)
            case CloseWith(code=code, why=why):
                self.close(code, why)
            case Perform(frame=asked):
                self._wire.hold()
                self._op = asyncio.create_task(self._take(asked), name=asked.op)

    def flooded(self) -> None:
        """See Receiver."""
        self.close(Close.TOO_SLOW, "too many frames")

    def writable(self) -> None:
        """See Receiver."""
        self.out.writable()

    async def _take(self, asked: ClientFrame) -> None:
        with bound(request=self._request_id, user=user_hash(self.caller.user_id)):
            await self._perform(asked)
        self._op = None
        self._wire.go_on()

    # ------------------------------------------------------------------ the client's wishes
    async def _perform(self, asked: ClientFrame) -> None:
        try:
            match asked:
                case Subscribe():
                    await self._subscribe(asked)
                case Unsubscribe():
                    await self._unsubscribe(asked)
                case Run():
                    await self._run(asked)
                case Cancel():
                    await self._cancel(asked)
        except Exception as error:
            told = as_baton_error(error, (POSTGRES, REDIS))
            if told.code is Code.INTERNAL:
                log.exception("an op failed", op=asked.op)
            self.out.put(error_frame(told.code, told.message, id=asked.id))

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
                await self._reset(listener, ack)
                return
        except BaseException:
            await self._leave(asked.thread_id)
            raise
        self.out.put(ack)
        listener.on_live = lambda: self._say_live(listener)
        self.relay.place(listener, after, "subscribe")

    async def _continues(self, thread: ThreadRow, after: Position) -> bool:
        """Whether a resend from a cursor has no hole: it is the newest, or the stream has it."""
        return after == thread.last or await self.relay.covers(thread.key, after)

    async def _unsubscribe(self, asked: Unsubscribe) -> None:
        if asked.thread_id not in self._listeners:
            await self._thread(asked.thread_id)
        await self._leave(asked.thread_id)
        self.out.put(frame("ack", id=asked.id))

    async def _run(self, asked: Run) -> None:
        if asked.input.thread_id not in self._listeners:
            self._make_sure_of_a_place()
        accepted = await accept_run(
            self.services,
            self.caller,
            thread_id=asked.input.thread_id,
            agent=asked.agent,
            input=asked.input,
            if_busy=asked.if_busy,
        )
        ack = frame("ack", id=asked.id, run_id=accepted.run_id, queued=accepted.queued)
        self.out.put(ack)
        if accepted.thread_id not in self._listeners:
            try:
                await self._follow(accepted)
            except Exception as error:  # noqa: BLE001 - the run stands, so the op has not failed
                log.warning("a run could not be followed", error=str(error))
                self.broken()

    async def _follow(self, accepted: Accepted) -> None:
        listener = await self._join(accepted.thread_key, accepted.thread_id)
        if accepted.queued or not accepted.created:
            # Its RUN_STARTED is not the next event, so the client needs to know where we are.
            await self._reset(listener)
        else:
            self.relay.place(listener, accepted.last, "run")

    async def _cancel(self, asked: Cancel) -> None:
        await request_cancel(
            self.services, self.caller, thread_id=asked.thread_id, run_id=asked.run_id
        )
        self.out.put(frame("ack", id=asked.id))

    async def _thread(self, public_id: str) -> ThreadRow:
        async with self.services.db.reading(self.caller.user_id) as db:
            thread = await threads.find(db, self.caller.user_id, public_id)
        if thread is None:
            raise BatonError(Code.NOT_FOUND)
        return thread

    async def _join(self, key: UUID, public_id: str) -> Listener:
        self._make_sure_of_a_place()
        listener = Listener(self, key, public_id)
        await self.relay.join(listener)
        self._listeners[public_id] = listener
        return listener

    def _make_sure_of_a_place(self) -> None:
        if len(self._listeners) >= MOST_SUBSCRIPTIONS:
            raise BatonError(Code.RATE_LIMITED, "This socket has too many subscriptions.")

    async def _leave(self, public_id: str) -> None:
        if listener := self._listeners.pop(public_id, None):
            await self.relay.leave(listener)

    async def _reset(self, listener: Listener, ack: str | None = None) -> None:
        """Say where the thread stands, just after the `ack`, and go on from there.

        A reset may be long, so that it is read only when the client has taken what came before.
        """
        await self.out.drained()
        async with self.services.db.reading(self.caller.user_id) as db:
            cursor, fields = await read_reset(db, listener.thread)
        if self._listeners.get(listener.public_id) is not listener:
            return  # the client has unsubscribed meanwhile, or subscribed anew
        if ack is not None:
            self.out.put(ack)
        run = fields.pop("run")
        self.out.put(reset_frame(fields, run))
        listener.on_live = lambda: self._say_live(listener)
        self.relay.place(listener, cursor, "reset")

    def _say_live(self, listener: Listener) -> None:
        self.out.put(frame("live", thread_id=listener.public_id, cursor=str(listener.cursor)))

    # ------------------------------------------------------------------ the relay's side
    def room(self) -> bool:
        """See Sink."""
        return self.out.room()

    def send(self, frame: str) -> None:
        """See Sink."""
        self.out.put(frame)

    async def drained(self) -> None:
        """See Sink."""
        await self.out.drained()

    def restart(self, listener: Listener) -> None:
        """See Sink."""
        self.services.background.start(self._restart(listener), "reset a listener")

    async def _restart(self, listener: Listener) -> None:
        try:
            await self._reset(listener)
        except Exception as error:  # noqa: BLE001 - the client connects again and starts anew
            log.warning("a listener could not be reset", error=str(error))
            self.broken()

    def broken(self) -> None:
        """See Sink."""
        self.close(Close.RESTARTING, "please connect again")

    def notice(self, payload: bytes) -> None:
        """Something of this person changed: pass it on as `changed`."""
        try:
            told = orjson.loads(payload)
            self.out.put(frame("changed", what=told["what"], threadId=told.get("threadId")))
        except (ValueError, KeyError, TypeError):
            log.warning("a notice made no sense")


def reset_frame(fields: dict[str, object], run: dict[str, object]) -> str:
    """A `reset`; unlike other absent fields, `run` is null and not left out."""
    text = frame("reset", **fields)
    said = orjson.dumps(run or None).decode()
    return f'{text[:-1]},"run":{said}}}'


def _monotonic(at: datetime | None) -> float | None:
    """A moment of the wall clock on the monotonic one."""
    if at is None:
        return None
    return time.monotonic() + (at - datetime.now(UTC)).total_seconds()
