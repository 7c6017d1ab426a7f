"""A server that stops in an orderly way: it serves on while it drains, then lets requests end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from shared.telemetry.logs import get_logger

log = get_logger(__name__)

STOP_LOOKED_FOR_S = 0.1


async def nothing() -> None:
    """What most have to do before they stop."""


class Server(uvicorn.Server):
    """Says on one line where it listens; uvicorn's own lines are off.

    Asked to stop, it first serves on while `drain` lasts; asked again, it stops at once.
    """

    def __init__(self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: Any) -> None:
        """See uvicorn, which waits less only after a second SIGINT."""
        if self.should_exit:
            self.force_exit = True
            _be_quiet()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: Any = None) -> None:
        """Drain, then stop in uvicorn's way."""
        headers = self.server_state.default_headers
        # Who keeps a connection would else send a request in the moment in which it is closed.
        self.server_state.default_headers = [*headers, (b"connection", b"close")]
        draining = asyncio.ensure_future(self._drain())
        while not (draining.done() or self.force_exit):
            await asyncio.wait([draining], timeout=STOP_LOOKED_FOR_S)
        draining.cancel()
        (failure,) = await asyncio.gather(draining, return_exceptions=True)
        if isinstance(failure, Exception):
            log.error("the drain failed", exc_info=failure)
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn leaves the app as it is then
            for task in self.server_state.tasks:
                task.cancel()
            await self.lifespan.shutdown()

    async def startup(self, sockets: Any = None) -> None:
        """Start in uvicorn's way, and say where."""
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
            _be_quiet()
            serving.cancel()


def _be_quiet() -> None:
    """What is cut off from now on is no accident."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
