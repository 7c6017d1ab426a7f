"""Two lanes of inspection: agents whose code takes long to import hold nobody else's up."""

import asyncio
from collections.abc import Collection

from runner.drop_ins.inspection import Order, Report
from runner.drop_ins.inspector import Inspector

#: An import that takes longer goes on beside the others.
SOON_S = 1.5

#: An agent, and the digest of its code.
Code = tuple[str, str]


class Lanes:
    """Looks at agents' code one after the other, and at what takes long in a process of its own."""

    def __init__(self, inspector: Inspector) -> None:
        self._quick, self._slow = inspector, Inspector()
        self._late: dict[Code, asyncio.Task[Report]] = {}
        #: Set when what took long is known.
        self.news = False

    async def inspect(self, order: Order, digest: str, *, patient: bool) -> Report | None:
        """What an agent would be; `None` where that takes long and is to be asked again later."""
        code = (order.name, digest)
        if late := self._late.get(code):
            if not late.done():
                return None
            del self._late[code]
            return late.result()
        self._leave(order.name)
        if patient:
            return await self._quick.inspect(order)
        report = await self._quick.inspect(order.model_copy(update={"within_s": SOON_S}))
        if not report.late:
            return report
        task = asyncio.create_task(self._slow.inspect(order), name="inspect what takes long")
        task.add_done_callback(self._known)
        self._late[code] = task
        return None

    def keep(self, names: Collection[str]) -> None:
        """Go on with these agents alone; the others are gone."""
        for name in {name for name, _ in self._late if name not in names}:
            self._leave(name)

    def close(self) -> None:
        """Leave everything; the inspector that was given is its owner's to close."""
        self.keep(())
        self._slow.close()

    def _leave(self, name: str) -> None:
        for code in [one for one in self._late if one[0] == name]:
            self._late.pop(code).cancel()

    def _known(self, task: asyncio.Task[Report]) -> None:
        self.news = self.news or not task.cancelled()
        if all(one.done() for one in self._late.values()):
            self._slow.close()
