"""`/realtime`: the shell around the rules of one socket. It reads, performs, and closes.

Nothing is created per idle socket but its task: heartbeats and sign-ins of all sockets are watched
by one ticker, and a writer exists only while there is something to write.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.accept import Accepted, accept_run, request_cancel
from gateway.auth.authenticate import authenticate_socket, still_valid
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
from shared.db.engine import POSTGRES, is_away
from shared.errors import BatonError, StoreAwayError
from shared.protocol.codes import Close, Code
from shared.protocol.frames import (
    HEARTBEAT_MS,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    SUBPROTOCOL,
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
from shared.telemetry.metrics import SOCKETS, SOCKETS_CLOSED
from shared.web.errors import as_baton_error

log = get_logger(__name__)

TICK_S = 1.0
#: A revoked sign-in ends its sockets within this time.
VALIDITY_EVERY_S = 3.0


class Sockets:
    """All open sockets of this gateway, and the one ticker that watches them."""

    def __init__(self, services: Services, relay: Relay) -> None:
        self.services, self.relay = services, relay
        self._open: set[Socket] = set()

    @contextlib.contextmanager
    def member(self, socket: "Socket") -> Iterator[None]:
        """Watch a socket for the block."""
        self._open.add(socket)
        SOCKETS.inc()
        try:
            yield
        finally:
            self._open.discard(socket)
            SOCKETS.dec()

    async def watch(self) -> None:
        """Close what is overdue or no longer signed in, until cancelled."""
        checked = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for socket in list(self._open):
                if overdue := socket.rules.overdue(now=now):
                    socket.close(overdue.code, overdue.why)
            if now - checked >= VALIDITY_EVERY_S and self._open:
                checked = now
                await self._end_invalid()

    async def _end_invalid(self) -> None:
        sockets = list(self._open)
        try:
            valid = await still_valid(self.services.db, [one.caller for one in sockets])
        except Exception as error:
            if not is_away(error) and not isinstance(error, StoreAwayError):
                log.exception("sign-ins could not be looked up")  # the ticker has to outlive it
            return
        for socket in sockets:
            if socket.caller.credential not in valid:
                socket.close(Close.NOT_SIGNED_IN, "the sign-in has ended")


class Socket:
    """One open socket: the sink of its listeners, and the performer of its client's wishes."""

    def __init__(self, websocket: WebSocket, caller: Caller, sockets: Sockets) -> None:
        self.websocket, self.caller = websocket, caller
        self.services, self.relay = sockets.services, sockets.relay
        self.rules = Connection(now=time.monotonic(), expires_at=_monotonic(caller.expires_at))
        self.out = Outgoing(websocket.send, self.close)
        self._listeners: dict[str, Listener] = {}
        self._closing: asyncio.Future[CloseWith] = asyncio.get_running_loop().create_future()

    # ------------------------------------------------------------------ life
    async def live(self) -> None:
        """Welcome, then read and perform until somebody ends the socket."""
        channel = user_channel(self.caller.user_id)
        reading = asyncio.create_task(self._begin(channel), name="socket reader")
        try:
            ends: set[asyncio.Future[Any]] = {reading, self._closing}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._closing.done():
                await self._say_close(self._closing.result())
            elif (error := reading.exception()) is not None:
                raise error
        finally:
            reading.cancel()
            self.out.stop()
            for listener in list(self._listeners.values()):
                await self.relay.leave(listener)
            await self.relay.ignore(channel, self)

    def close(self, code: Close, why: str) -> None:
        """End the socket; the first reason counts."""
        if not self._closing.done():
            self._closing.set_result(CloseWith(code, why))

    async def _say_close(self, ending: CloseWith) -> None:
        SOCKETS_CLOSED.labels(int(ending.code)).inc()
        self.out.stop()
        with contextlib.suppress(RuntimeError, OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self.websocket.close(int(ending.code), ending.why)

    def _welcome(self) -> str:
        return frame(
            "welcome",
            version=PROTOCOL_VERSION,
            user={"id": str(self.caller.user_id), "email": self.caller.email},
            heartbeat_ms=HEARTBEAT_MS,
            max_frame_bytes=MAX_FRAME_BYTES,
        )

    async def _begin(self, channel: str) -> None:
        await self.relay.listen_to(channel, self)
        self.out.put(self._welcome())
        await self._read()

    async def _read(self) -> None:
        while True:
            message = await self.websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            action = self.rules.received(message.get("text"), now=time.monotonic())
            match action:
                case Send(frame=answer):
                    self.out.put(answer)
                case CloseWith(code=code, why=why):
                    self.close(code, why)
                    return
                case Perform(frame=asked):
                    await self._perform(asked)

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
        async with self.services.db.reading() as db:
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
        async with self.services.db.reading() as db:
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


async def realtime(websocket: WebSocket) -> None:
    """Accept first, so that browsers can see why they are refused."""
    services: Services = websocket.app.state.services
    sockets: Sockets = websocket.app.state.sockets
    offered = websocket.scope.get("subprotocols", [])
    try:
        caller = await authenticate_socket(services, websocket)
    except Exception as error:  # noqa: BLE001 - whatever it is, this socket cannot begin
        await _refuse(websocket, _refusal(as_baton_error(error, (POSTGRES, REDIS))))
        return
    if SUBPROTOCOL not in offered:
        await _refuse(
            websocket, CloseWith(Close.BAD_FRAME, f"offer the sub-protocol {SUBPROTOCOL}")
        )
        return
    await websocket.accept(subprotocol=SUBPROTOCOL)
    with bound(user=user_hash(caller.user_id)):
        socket = Socket(websocket, caller, sockets)
        with sockets.member(socket), contextlib.suppress(WebSocketDisconnect):
            await socket.live()


ROUTE = WebSocketRoute("/realtime", realtime)


def reset_frame(fields: dict[str, object], run: dict[str, object]) -> str:
    """A `reset`; unlike other absent fields, `run` is null and not left out."""
    text = frame("reset", **fields)
    said = orjson.dumps(run or None).decode()
    return f'{text[:-1]},"run":{said}}}'


def _refusal(error: BatonError) -> CloseWith:
    match error.code:
        case Code.FORBIDDEN:
            return CloseWith(Close.BAD_ORIGIN, error.message)
        case Code.NOT_SIGNED_IN:
            return CloseWith(Close.NOT_SIGNED_IN, error.message)
        case _:
            return CloseWith(Close.RESTARTING, "please try again")


async def _refuse(websocket: WebSocket, ending: CloseWith) -> None:
    SOCKETS_CLOSED.labels(int(ending.code)).inc()
    offered = websocket.scope.get("subprotocols", [])
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        await websocket.close(int(ending.code), ending.why[:120])


def _monotonic(at: datetime | None) -> float | None:
    """A moment of the wall clock on the monotonic one."""
    if at is None:
        return None
    return time.monotonic() + (at - datetime.now(UTC)).total_seconds()
