"""`/realtime`: who may open a socket, and what watches the open ones.

Nothing is created per idle socket but its task: heartbeats and sign-ins of all sockets are watched
by one ticker, and a writer exists only while there is something to write.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.auth.authenticate import authenticate_socket, still_valid
from gateway.connection import (
    CloseWith,
)
from gateway.open_socket import Socket
from gateway.relay.relay import Relay
from gateway.services import Services
from shared.bus.connect import REDIS
from shared.db.engine import POSTGRES, is_away
from shared.errors import BatonError, StoreAwayError
from shared.protocol.codes import Close, Code
from shared.protocol.frames import (
    SUBPROTOCOL,
)
from shared.telemetry.logs import bound, get_logger, user_hash
from shared.telemetry.metrics import SOCKETS, SOCKETS_CLOSED
from shared.web.errors import as_baton_error

log = get_logger(__name__)

PATH = "/realtime"
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
        socket = Socket(websocket, caller, services, sockets.relay)
        with sockets.member(socket), contextlib.suppress(WebSocketDisconnect):
            await socket.live()


class Realtime:
    """Takes `/realtime` before routing begins.

    The layers of routing are made for requests that last milliseconds; around an open socket they
    would hold a third of its memory, and wrap every frame.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "websocket" and scope["path"] == PATH:
            await realtime(WebSocket(scope, receive, send))
        else:
            await self.app(scope, receive, send)


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
