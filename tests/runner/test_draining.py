"""How a worker ends: within the time that is promised, and not before its lone processes."""

from typing import Any

import pytest

from runner.record import AwayError
from runner.worker import DRAIN_S, LETTING_GO_S, LONE_ENDS_S, Worker
from shared.settings import RunnerSettings
from shared.settings.common import ENDS_WITHIN_S


class Isolation:
    """Lone processes that take all the time that they get."""

    def __init__(self) -> None:
        self.asked = False
        self.patience_s = 0.0

    def end(self) -> None:
        self.asked = True

    async def ended(self, *, within_s: float) -> None:
        assert self.asked
        self.patience_s = within_s


class Away:
    """Toolsvc and Redis cannot be reached."""

    async def leave(self, _runner: str) -> None:
        raise AwayError

    async def xpending_range(self, *_: Any, **__: Any) -> None:
        raise ConnectionError


class Carrying:
    """No run is carried here itself."""

    def give_away(self) -> None:
        """Ask no run."""

    def let_go(self) -> None:
        """Stop none."""


@pytest.mark.asyncio
async def test_lone_processes_get_the_time_that_a_run_gets_here() -> None:
    """In a container whose first process is this one, they would be killed together with it."""
    isolation = Isolation()
    lone: Any = isolation
    away: Any = Away()
    carrying: Any = Carrying()
    settings = RunnerSettings.model_validate(
        {"redis_url": "redis://127.0.0.1:1", "runner_key": "k" * 40}
    )
    worker = Worker(
        "runner-1",
        settings,
        redis=away,
        blocking=away,
        record=away,
        carrying=carrying,
        isolation=lone,
    )
    await worker.drain()
    assert isolation.patience_s > DRAIN_S + LETTING_GO_S


def test_all_of_it_takes_no_longer_than_is_promised() -> None:
    assert DRAIN_S + LETTING_GO_S + LONE_ENDS_S < 30 < ENDS_WITHIN_S
