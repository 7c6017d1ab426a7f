"""The lease, renewed once a second for all runs, from a thread of its own.

Agent code that blocks the event loop keeps its runs, because this thread goes on. After 30 s
without progress of the loop it stops renewing and ends the process: the supervisor starts another.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable

import httpx

from shared.protocol.record import RUNNER_PROOF, Heartbeat, HeartbeatAnswer
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

EVERY_S = 1.0
TRY_S = 2.0
#: So long a heartbeat waits for what the loop has to say now; then it says what it said last.
ASKING_S = 0.1
#: A loop that does not move for this long will not come back; its runs are better off elsewhere.
STUCK_S = 30.0
STUCK_EXIT = 70


class HeartbeatThread:
    """Renews until stopped; `beat` and `heard` run on the event loop."""

    def __init__(
        self,
        runner: str,
        urls: tuple[str, ...],
        key: str,
        *,
        secret: str,
        beat: Callable[[], Heartbeat],
        heard: Callable[[HeartbeatAnswer], None],
    ) -> None:
        self._runner, self._urls = runner, [url.rstrip("/") for url in urls]
        self._sent = {"authorization": f"Bearer {key}", RUNNER_PROOF: secret}
        self._beat, self._heard = beat, heard
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._looked = threading.Event()
        self._next = Heartbeat()
        self._moved_at = time.monotonic()
        self._current = 0
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        #: Set once the first renewal has been answered.
        self.leased = asyncio.Event()

    def start(self) -> None:
        """Begin to renew."""
        self._next = self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Renew no more."""
        self._stop.set()
        self._thread.join(timeout=TRY_S + 1)

    def _run(self) -> None:
        with httpx.Client(timeout=TRY_S, trust_env=False) as http:
            while not self._stop.is_set():
                self._ask()
                # An instance that hangs costs half the lease: the others are asked at once.
                any(self._renew(http) for _ in self._urls)
                self._stop.wait(EVERY_S)

    def _ask(self) -> None:
        self._looked.clear()
        self._loop.call_soon_threadsafe(self.look)
        self._looked.wait(ASKING_S)

    def _renew(self, http: httpx.Client) -> bool:
        """Whether it was answered."""
        still_s = time.monotonic() - self._moved_at
        if still_s > STUCK_S:
            log.critical("the event loop is stuck, the process ends", still_s=round(still_s))
            os._exit(STUCK_EXIT)
        url = self._urls[self._current % len(self._urls)]
        try:
            answer = http.post(
                f"{url}/runners/{self._runner}/heartbeat",
                content=self._next.model_dump_json(),
                headers=self._sent,
            )
            answer.raise_for_status()
            news = HeartbeatAnswer.model_validate_json(answer.content)
        except (httpx.HTTPError, ValueError) as error:
            self._current += 1
            log.warning("the lease could not be renewed", error=repr(error))
            return False
        self._loop.call_soon_threadsafe(self._tell, news)
        return True

    def look(self) -> None:
        """On the loop: it moves, and these are its runs.

        Whoever begins a run calls it at once: the run's code may hold up the loop from the first
        moment on, and a run that no heartbeat names counts as one whose claim was never heard of.
        """
        self._moved_at = time.monotonic()
        self._next = self._beat()
        self._looked.set()

    def _tell(self, news: HeartbeatAnswer) -> None:
        self.leased.set()
        self._heard(news)
