"""Serving HTTP and WebSockets: uvicorn with limits that it does not have by itself.

HTTP by h11 and WebSockets by wsproto, knowingly: with httptools a head of 2 MB is taken, and the
default WebSocket stack leaves an upgrade by POST or with a long header unanswered and open. Half a
request would stay for minutes; here a head and a body have a time limit each.
"""

import asyncio
import logging
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.events import AcceptConnection, Request

from shared.process import end_with_supervisor
from shared.settings.common import ProcessSettings
from shared.telemetry.logs import get_logger
from shared.web.listening import bound_sockets
from shared.web.stopping import Server, nothing
from shared.web.wire import MAX_FRAME_BYTES, Wire

log = get_logger(__name__)

MAX_HEAD_BYTES = 16_384
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_LENGTH = re.compile(rb"\ncontent-length[ \t]*:", re.IGNORECASE)
_CODING = re.compile(rb"\ntransfer-encoding[ \t]*:", re.IGNORECASE)
#: From the first byte of a request (or the connection's beginning) to the end of its head.
HEAD_TIMEOUT_S = 10.0
#: From the end of the head to the end of the body; 1 MiB in this time is 35 KB/s.
BODY_TIMEOUT_S = 30.0
#: A body may come in this many chunks of any size; beyond them they have to average `CHUNK_BYTES`.
CHUNKS_BURST = 500
CHUNK_BYTES = 512
#: Requests under way when a server stops have this long; then their connections are cut, which a
#: client sees, for the end of the body is missing.
GRACE_S = 10.0
#: Where the app finds how to accept a socket.
_ACCEPT = "baton.accept"


class _BoundedParser(h11.Connection):
    """Refuses a body in crumbs, each of which costs as much as a chunk of any size.

    And long trailers: h11 looks at the length only of what is not complete yet, so that it is fed
    no more at once than a head may have.
    """

    _chunks = _bytes = 0

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self._waiting = bytearray()

    @property
    def trailing_data(self) -> tuple[bytes, bool]:
        """See h11."""
        received, closed = super().trailing_data
        return received + self._waiting, closed

    def receive_data(self, data: bytes) -> None:
        """See h11."""
        self._waiting += data

    def next_event(self) -> Any:
        """See h11; it counts the chunks of the body that is coming in."""
        while (event := super().next_event()) is h11.NEED_DATA and self._waiting:
            super().receive_data(bytes(self._waiting[:MAX_HEAD_BYTES]))
            del self._waiting[:MAX_HEAD_BYTES]
        if isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > CHUNKS_BURST + self._bytes // CHUNK_BYTES:
                raise h11.RemoteProtocolError("The body comes in too small chunks.")
        elif isinstance(event, h11.EndOfMessage):
            self._chunks = self._bytes = 0
        return event


class BoundedH11(H11Protocol):
    """uvicorn's protocol, which closes a connection that is slower than any honest client."""

    head_timeout_s = HEAD_TIMEOUT_S
    body_timeout_s = BODY_TIMEOUT_S
    _waits_for: Any = None
    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _BoundedParser()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes in, and see what the client owes us now."""
        super().data_received(data)
        self._watch()

    def handle_events(self) -> None:
        """Refuse a head that is too long, of which h11 looks only at what is not complete yet.

        And one that tells its body's length in two ways, which h11 takes: somebody in front of us
        may have gone by the other one (RFC 9112, section 6.1, request smuggling).
        """
        if self.conn.their_state is h11.IDLE:
            head = self._head()
            if len(head) > MAX_HEAD_BYTES:
                self.send_400_response("The head of the request is too long.")
                return
            if _LENGTH.search(head) and _CODING.search(head):
                self.send_400_response("Content-Length and Transfer-Encoding exclude each other.")
                return
        super().handle_events()

    def send_400_response(self, msg: str) -> None:
        """Say it, unless the app has begun to answer already; close in any case."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()
        if self.cycle is not None:
            self.cycle.disconnected = True  # what the app still says goes nowhere

    def on_response_complete(self) -> None:
        """Between requests uvicorn's own keep-alive limit holds."""
        super().on_response_complete()
        if self.conn.trailing_data[0]:
            self._watch()
        else:
            self._forget()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over; the socket has its own limits."""
        self._forget()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self._forget()
        super().connection_lost(exc)

    def _head(self) -> bytes:
        received = self.conn.trailing_data[0]
        end = _END_OF_HEAD.search(received)
        return received[: end.end()] if end else received

    def _watch(self) -> None:
        state = self.conn.their_state
        if state is self._waits_for or self.transport.get_protocol() is not self:
            return
        self._forget()
        limit = {h11.IDLE: self.head_timeout_s, h11.SEND_BODY: self.body_timeout_s}.get(state)
        if limit is not None and not self.transport.is_closing():
            self._waits_for = state
            self._deadline = self.loop.call_later(limit, self._too_slow)

    def _forget(self) -> None:
        self._waits_for = None
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._forget()
        log.info("closed a connection that was too slow")
        self.transport.abort()


class _HandedOver(asyncio.Transport):
    """In place of a transport that a wire has: uvicorn closes what it holds after the call."""

    def close(self) -> None:
        """It is the wire's to close."""

    def is_closing(self) -> bool:
        """Nothing can be written here."""
        return True


class SpokenWs(WSProtocol):
    """uvicorn's protocol for the handshake; an accepted socket goes on as a `Wire`.

    uvicorn keeps a task, a queue, the request and its parser for as long as a socket is open.
    """

    def handle_connect(self, event: Request) -> None:
        """Ask the app, which may accept by `accepted`; what else comes waits in the client."""
        self.transport.pause_reading()
        super().handle_connect(event)
        extensions: Any = self.scope["extensions"]
        extensions[_ACCEPT] = self._accept

    def _accept(self, subprotocol: str | None) -> Wire | None:
        if self.disconnected or self.transport.is_closing():
            return None
        self.transport.write(self.conn.send(AcceptConnection(subprotocol=subprotocol)))
        assert self.conn.connection is not None  # noqa: S101 - for the type checker
        wire = Wire(self.transport, self.conn.connection, self.connections)
        self.connections.discard(self)
        self.transport.set_protocol(wire)
        self.transport, self.handshake_complete = _HandedOver(), True
        return wire

    async def run_asgi(self) -> None:
        """Call the app; the wire outlives the call, and nothing else does."""
        await super().run_asgi()
        self.scope.clear()  # type: ignore[attr-defined]


def accepted(scope: Scope, subprotocol: str | None) -> Wire | None:
    """Accept a WebSocket; `None` if the client is gone already. The app's call may end then."""
    accept: Callable[[str | None], Wire | None] = scope["extensions"][_ACCEPT]
    return accept(subprotocol)


def serve(
    app: ASGIApp,
    settings: ProcessSettings,
    *,
    process: str,
    drain: Callable[[], Awaitable[None]] = nothing,
    grace_s: float = GRACE_S,
) -> None:
    """Serve until SIGTERM, SIGINT, or the supervisor's end; then exit with status 0.

    The end begins with `drain`, while all is served as ever. What requests are under way after it
    have `grace_s` seconds. A second signal cuts both short.
    """
    # WebSocket addresses and complaints about hostile clients would come as lines of their own.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    for stop in (signal.SIGTERM, signal.SIGINT):
        # uvicorn repeats the signal after it has stopped, which must not look like a crash.
        signal.signal(stop, lambda *_: sys.exit(0))
    if settings.supervised:
        end_with_supervisor(settings.ends_within_s)
    server = Server(server_config(app, settings, grace_s=grace_s), drain)
    try:
        server.run(bound_sockets(settings))
    except asyncio.CancelledError:
        if not server.should_exit:
            raise
    finally:
        log.info("stopped", process=process)


def server_config(
    app: ASGIApp, settings: ProcessSettings, *, grace_s: float = GRACE_S
) -> uvicorn.Config:
    """All of uvicorn's settings that matter."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=BoundedH11,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ws=SpokenWs,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=grace_s,  # type: ignore[arg-type] # it waits for fractions too
    )
