"""Agent code in other loops is called back when its run ends, whatever became of its loop."""

import asyncio
from typing import Any

import pytest

from runner.home import Home


class Abroad:
    """A task in another loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.loop

    def cancel(self) -> None:
        raise AssertionError("its loop is closed")


@pytest.mark.asyncio
async def test_a_loop_that_was_closed_over_its_task_does_not_keep_others_waiting() -> None:
    home = Home()
    closed = asyncio.new_event_loop()
    closed.close()
    abroad: Any = Abroad(closed)
    home._abroad.add(abroad)
    home.call_back()


def test_who_comes_after_the_end_is_sent_away() -> None:
    async def made() -> Home:
        return Home()

    async def visit(home: Home) -> str:
        with home.visiting():
            return "in"

    home = asyncio.run(made())
    assert asyncio.run(visit(home)) == "in"
    home.call_back()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(visit(home))
