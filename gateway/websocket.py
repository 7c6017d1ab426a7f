"""`/realtime`: who may open a socket, and what watches the open ones.

An idle socket has no task and no timer: it is called when something comes, and one ticker watches
the heartbeats, pings, sign-ins and unread bytes of all.
"""

import asyncio
import time
from contextlib import suppress

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.auth.authenticate import authenticate_socket, still_valid
from gateway.connection import CloseWith
from gateway.draining import NOTICE, spread
from gateway.open_socket import Socket
from gateway.relay.relay import Relay
from gateway.services import Services
from shared.bus.connect import REDIS
from shared.db.engine import POSTGRES, is_away
from shared.errors import BatonError, StoreAwayError
from shared.protocol.codes import Close, Code
from shared.protocol.frames import SUBPROTOCOL
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import SOCKETS, SOCKETS_CLOSED
from shared.web.errors import as_baton_error
from shared.web.serve import accepted

log = get_logger(__name__)

PATH = "/realtime"
TICK_S = 1.0
#: A revoked sign-in ends its sockets within this time.
VALIDITY_EVERY_S = 3.0
#: At the end of a drain what clients have asked for is still answered, within this time.
ANSWERS_S = 10.0
#: And clients may answer their close, so that they surely have read it.
GOODBYES_S = 2.0


class Sockets:
    """All open sockets of this gateway, and the one ticker that watches them."""

    def __init__(self, services: Services, relay: Relay) -> None:
        self.services, self.relay = services, relay
        self._open: set[Socket] = set()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self.draining = self.refusing = False

    def add(self, socket: Socket) -> None:
        """Watch a socket until it is discarded."""
        self._open.add(socket)
        self._nobody.clear()
        SOCKETS.inc()

    def discard(self, socket: Socket) -> None:
        """The socket is over."""
        self._open.discard(socket)
        if not self._open:
            self._nobody.set()
        SOCKETS.dec()

    async def watch(self) -> None:
        """Close what is overdue or no longer signed in, until cancelled."""
        checked = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for socket in list(self._open):
                socket.look(now)
            if now - checked >= VALIDITY_EVERY_S and self._open:
                checked = now
                await self._end_invalid()

    async def drain(self, drain_s: float) -> None:
        """Send everybody away, one after another; `/readyz` says so for all of this time.

        New sockets are welcome for a first moment, in which load balancers look elsewhere. Without
        any socket it takes as long: a balancer sends requests, too.
        """
        self.draining = True
        begun = time.monotonic()
        await asyncio.sleep(drain_s * NOTICE)
        self.refusing = True
        leaving: set[asyncio.Task[None]] = set()
        try:
            for moment, socket in spread(list(self._open), drain_s):
                await asyncio.sleep(begun + moment - time.monotonic())
                leaving.add(asyncio.create_task(socket.leave(), name="send a socket away"))
            await asyncio.sleep(begun + drain_s - time.monotonic())
            if leaving:
                await asyncio.wait(leaving, timeout=ANSWERS_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._nobody.wait(), GOODBYES_S)
        finally:
            for task in leaving:
                task.cancel()

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


async def realtime(scope: Scope) -> None:
    """Accept whoever asks, so that browsers can see why they are refused."""
    services: Services = scope["app"].state.services
    sockets: Sockets = scope["app"].state.sockets
    try:
        caller = await authenticate_socket(services, HTTPConnection(scope))
    except Exception as error:  # noqa: BLE001 - whatever it is, this socket cannot begin
        _refuse(scope, _refusal(as_baton_error(error, (POSTGRES, REDIS))))
        return
    if SUBPROTOCOL not in scope["subprotocols"]:
        _refuse(scope, CloseWith(Close.BAD_FRAME, f"offer the sub-protocol {SUBPROTOCOL}"))
        return
    if sockets.refusing:
        _refuse(scope, CloseWith(Close.RESTARTING, "this gateway stops; another one serves you"))
        return
    if wire := accepted(scope, SUBPROTOCOL):
        socket = Socket(wire, caller, services, sockets.relay, over=sockets.discard)
        sockets.add(socket)
        await socket.begin(scope["request_id"])


class Realtime:
    """Takes `/realtime` before routing begins.

    The layers of routing are made for requests; a socket that begins needs none of them, and one
    that is open has left this call.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "websocket" and scope["path"] == PATH:
            await realtime(scope)
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


def _refuse(scope: Scope, ending: CloseWith) -> None:
    SOCKETS_CLOSED.labels(int(ending.code)).inc()
    if wire := accepted(scope, SUBPROTOCOL if SUBPROTOCOL in scope["subprotocols"] else None):
        wire.close(int(ending.code), ending.why)
