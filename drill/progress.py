"""How far a drill is: one moving line on a terminal, a line now and then elsewhere."""

import asyncio
import time
from collections.abc import Sequence

from rich.console import Console
from rich.status import Status

from drill.client import Client
from drill.plan import DrillPlan
from drill.records import Hit

EVERY_S = 0.5
EVERY_S_IN_A_PIPE = 15.0


class Progress:
    """Tells on `console` what goes on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._plan: DrillPlan | None = None
        self._clients: Sequence[Client] = ()
        self._began = 0.0
        self._hits = 0
        self._last = "-"

    def phase(self, text: str) -> None:
        """Another part of the drill begins."""
        if not self._console.is_terminal:
            self._console.print(text)
        elif self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        else:
            self._status.update(text)

    def begin(self, plan: DrillPlan, clients: Sequence[Client], began: float) -> None:
        """The clock of the plan begins."""
        self._plan, self._clients, self._began = plan, clients, began

    def hit(self, hit: Hit) -> None:
        """Something was broken."""
        self._hits += not hit.missed
        self._last = f"{hit.kind} {hit.target}".strip()

    async def show(self) -> None:
        """Keep telling until cancelled."""
        while self._plan:
            await asyncio.sleep(EVERY_S if self._console.is_terminal else EVERY_S_IN_A_PIPE)
            ended = sum(len(client.record.ended) for client in self._clients)
            passed_s = time.time() - self._began
            waits = " (waiting for the last runs)" if passed_s > self._plan.seconds else ""
            self.phase(
                f"{passed_s:.0f} of {self._plan.seconds:.0f} s{waits} · "
                f"{ended} of {self._plan.runs} runs ended · {self._hits} faults · {self._last}"
            )

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._status:
            self._status.stop()
            self._status = None
