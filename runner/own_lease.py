"""What a runner knows of its own lease.

Without one it must not take entries from the doorbell: toolsvc would give it nothing, and the entry
is then heard by nobody else. So a runner that is cut off from toolsvc, but not from Redis, leaves
them to those who can ask.
"""

import asyncio
import time


class OwnLease:
    """Until when it was renewed, as far as this process knows (monotonic)."""

    def __init__(self) -> None:
        self._until = 0.0
        self._renewed = asyncio.Event()

    def renewed(self, life_s: float) -> None:
        """A heartbeat was answered."""
        self._until = time.monotonic() + life_s
        self._renewed.set()

    def doubt(self) -> None:
        """Something else was not answered; the next heartbeat will tell."""
        self._until = 0.0

    def left_s(self) -> float:
        """For how long it lives yet; nought where it does not."""
        return max(0.0, self._until - time.monotonic())

    async def living(self) -> float:
        """Wait until it lives; for how long it does yet."""
        while not (left_s := self.left_s()):
            self._renewed.clear()
            await self._renewed.wait()
        return left_s
