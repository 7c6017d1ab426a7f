"""One model call, tried as often as its server's policy allows.

Before the first delta a further try is nobody's business but that of who waits, and is told so.
After it, a provider with `restart` has its half answer withdrawn first; else the failure stands.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from runner.carried import CarriedRun
from runner.models.gate import Closed, Gate
from runner.models.retry import Fault, Kind, details_of, judged, pause_s, words_of
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import MODEL_RETRIES

log = get_logger(__name__)

#: Shorter pauses are not worth a word.
TOLD_FROM_S = 1.0


class Shown(Protocol):
    """What a call has shown of its answer so far."""

    def begun(self) -> bool:
        """Whether anybody has seen something."""

    def withdraw(self) -> bool:
        """Take it back, visibly; `False` where that cannot be done now."""


class Attempts:
    """The tries of one live call."""

    def __init__(
        self, gate: Gate, run: CarriedRun, *, most_s: float, say: Callable[[dict[str, Any]], object]
    ) -> None:
        self._gate, self._run, self._most_s, self._say = gate, run, most_s, say
        self._policy = gate.policy

    async def until_made(self, once: Callable[[], Awaitable[Any]], shown: Shown) -> Any:
        """The outcome of the first try that succeeds.

        Raises:
            Exception: that of the last try.
        """
        until: float | None = None
        for tried in itertools.count(1):
            async with self._turn():
                until = until or time.monotonic() + self._policy.retry_for_s
                try:
                    return await once()
                except Exception as error:
                    fault = judged(error, now=time.time())
                    self._gate.failed(fault)
                    wait_s = self._wait_s(fault, tried, until)
                    if wait_s is None or (shown.begun() and not self._restarts(shown)):
                        raise
                    log.info(
                        "a model call is made once more",
                        provider=self._gate.provider,
                        tried=tried,
                        wait_s=round(wait_s, 1),
                        **details_of(error),
                    )
            MODEL_RETRIES.labels(self._gate.provider, fault.kind).inc()
            await self._pause(fault, wait_s)
        raise AssertionError("unreachable")

    def _wait_s(self, fault: Fault, tried: int, until: float) -> float | None:
        """How long to wait for the next try; `None` where there is none."""
        if not fault.again or tried > self._policy.retries:
            return None
        wait_s = pause_s(fault, tried)
        return wait_s if time.monotonic() + wait_s <= until else None

    def _restarts(self, shown: Shown) -> bool:
        return self._policy.restart and shown.withdraw()

    async def _pause(self, fault: Fault, wait_s: float) -> None:
        if wait_s >= TOLD_FROM_S:
            self._tell(fault.kind, wait_s)
        await self._run.waiting(asyncio.sleep(wait_s))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A place among the calls that may go on at once."""
        entered = False

        async def enter() -> None:
            nonlocal entered
            await self._gate.enter(most_s=self._most_s, told=self._closed)
            entered = True

        try:
            await self._run.waiting(enter())
            yield
        finally:
            if entered:
                self._gate.leave()

    def _closed(self, closed: Closed | None) -> None:
        if closed is None:
            self._tell(None, None)
        else:
            self._tell(closed.kind, closed.for_s or None)

    def _tell(self, kind: Kind | None, wait_s: float | None) -> None:
        """Say what the call waits for."""
        why = words_of(kind)[1] if kind else "Other calls to the model server come first"
        then = f"; next try in {wait_s:.0f} s." if wait_s else "."
        value = {"reason": words_of(kind)[0] if kind else "turn", "message": f"{why}{then}"}
        self._say({"type": "CUSTOM", "name": "baton.waiting", "value": value | _seconds(wait_s)})


def _seconds(wait_s: float | None) -> dict[str, float]:
    return {"seconds": round(wait_s, 1)} if wait_s else {}
