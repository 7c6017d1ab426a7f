"""What the gateway's routes work with, made once by app.py."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.store.database import Database
from shared.bus import doorbell
from shared.bus.connect import AWAY, Redis
from shared.bus.keys import user_channel
from shared.bus.limits import Limiter
from shared.settings import GatewaySettings
from shared.settings.security import SecurityConfig
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

#: What was begun after an answer gets this long at shutdown.
PATIENCE_S = 3


class Background:
    """Tasks that go on after an answer was given: owned here, named, waited for at the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Begin a piece of work; what it raises is logged."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def finish(self, patience_s: float = PATIENCE_S) -> None:
        """Wait for all of it, then cancel the rest."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=patience_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("background work failed", task=task.get_name(), exc_info=error)


@dataclass(slots=True, kw_only=True)
class Services:
    """The gateway's surroundings; the relay puts its own answers into the last two fields."""

    settings: GatewaySettings
    engine: AsyncEngine
    db: Database
    redis: Redis
    toolsvc: httpx.AsyncClient
    limiter: Limiter
    #: The rules that count, and what is wrong with their file as it is now.
    security: SecurityConfig = field(default_factory=SecurityConfig)
    security_problem: str | None = None
    background: Background = field(default_factory=Background)
    #: When agents were read last (monotonic seconds), and what was found.
    agents: tuple[float, dict[str, dict[str, Any]]] | None = None
    #: Whether Redis answered lately; asked before a run is accepted.
    redis_ready: Callable[[], bool] = lambda: True
    #: How far the relay is behind, in seconds; `None` where it is not known.
    relay_lag_s: Callable[[], float | None] = lambda: None

    def tell(self, user: UUID, what: str, thread: str | None = None) -> None:
        """Tell a person's sockets to read something again; best effort."""
        self.background.start(self._publish(user, what, thread), "tell")

    def ring(self, run: UUID, thread: UUID) -> None:
        """Wake a runner; where that fails, toolsvc sees the waiting run and rings."""
        self.background.start(self._ring(run, thread), f"ring {run}")

    async def _ring(self, run: UUID, thread: UUID) -> None:
        try:
            await doorbell.ring(self.redis, [doorbell.Ring(run, thread)])
        except AWAY as error:
            log.warning("the doorbell did not ring", run=str(run), error=str(error))

    async def _publish(self, user: UUID, what: str, thread: str | None) -> None:
        notice = {"what": what} | ({"threadId": thread} if thread else {})
        try:
            await self.redis.publish(user_channel(user), orjson.dumps(notice))
        except AWAY as error:
            log.info("nobody was told of a change", error=str(error))
