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
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection

from shared.process import end_with_supervisor
from shared.settings.common import ProcessSettings
from shared.telemetry.logs import get_logger
from shared.web.listening import bound_sockets

log = get_logger(__name__)

MAX_HEAD_BYTES = 16_384
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_LENGTH = re.compile(rb"\ncontent-length[ \t]*:", re.IGNORECASE)
_CODING = re.compile(rb"\ntransfer-encoding[ \t]*:", re.IGNORECASE)
#: From the first byte of a request (or the connection's beginning) to the end of its head.
HEAD_TIMEOUT_S = 10.0
#: From the end of the head to the end of the body; 1 MiB in this time is 35 KB/s.
BODY_TIMEOUT_S = 30.0
MAX_FRAME_BYTES = 1_048_576
PING_S = 20.0
GRACE_S = 10
STOP_LOOKED_FOR_S = 0.1
#: A client that has not read for long gets this much to take the close.
CUT_AFTER_S = 2.0


class BoundedH11(H11Protocol):
    """uvicorn's protocol, which closes a connection that is slower than any honest client."""

    head_timeout_s = HEAD_TIMEOUT_S
    body_timeout_s = BODY_TIMEOUT_S
    _waits_for: Any = None
    _deadline: asyncio.TimerHandle | None = None

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


class _Spent:
    """In place of a handshake that is over: its HTTP parser would stay as long as the socket."""

    @staticmethod
    def events() -> tuple[()]:
        """Nothing comes of it any more."""
        return ()


class SpokenWs(WSProtocol):
    """uvicorn's protocol, which says a close code to a client whose frames make no sense.

    One that does not read cannot be told anything: it is cut off instead of waited for.
    """

    cut_after_s = CUT_AFTER_S

    async def send(self, message: Any) -> None:
        """Send; a close must not wait for a client that reads nothing."""
        if message["type"] == "websocket.close" and not self.writable.is_set():
            self.writable.set()
            self.loop.call_later(self.cut_after_s, self.transport.abort)
        await super().send(message)
        if message["type"] == "websocket.accept" and self.conn.connection is not None:
            self.conn.handshake = _Spent()  # type: ignore[assignment]

    def handle_close(self, event: CloseConnection) -> None:
        """Answer a close; say one's own where the frames make no sense."""
        if self.conn.state is ConnectionState.OPEN and not self.close_sent:
            self.transport.write(self.conn.send(CloseConnection(event.code, event.reason)))
        super().handle_close(event)


class _Server(uvicorn.Server):
    """Says on one line where it listens; uvicorn's own lines are off."""

    async def startup(self, sockets: Any = None) -> None:
        leaving = asyncio.create_task(self._leave_early(asyncio.current_task()))
        try:
            await super().startup(sockets)
        finally:
            leaving.cancel()
        for server in self.servers:
            for bound in server.sockets:
                host, port = bound.getsockname()[:2]
                log.info("listening", host=host, port=port)

    async def _leave_early(self, serving: asyncio.Task[Any] | None) -> None:
        """Asked to stop, do not wait for an app that itself still waits for others."""
        while not self.should_exit:  # noqa: ASYNC110 - uvicorn only sets this flag
            await asyncio.sleep(STOP_LOOKED_FOR_S)
        if serving is not None:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it is no accident
            serving.cancel()


def serve(app: ASGIApp, settings: ProcessSettings, *, process: str) -> None:
    """Serve until SIGTERM, SIGINT, or the supervisor's end; then exit with status 0."""
    # WebSocket addresses and complaints about hostile clients would come as lines of their own.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    for stop in (signal.SIGTERM, signal.SIGINT):
        # uvicorn repeats the signal after it has stopped, which must not look like a crash.
        signal.signal(stop, lambda *_: sys.exit(0))
    if settings.supervised:
        end_with_supervisor()
    server = _Server(server_config(app, settings))
    try:
        server.run(bound_sockets(settings))
    except asyncio.CancelledError:
        if not server.should_exit:
            raise
    finally:
        log.info("stopped", process=process)


def server_config(app: ASGIApp, settings: ProcessSettings) -> uvicorn.Config:
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
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
