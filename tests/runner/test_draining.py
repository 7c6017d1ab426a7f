"""How a worker ends: within the time that is promised, and not before its lone processes."""

from typing import Any

import pytest

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


class Nothing:
    """Takes whatever it is told."""

    def __getattr__(self, name: str) -> Any:
        async def done(*_: Any, **__: Any) -> None:
            return None

        return done


@pytest.mark.asyncio
async def test_lone_processes_get_the_time_that_a_run_gets_here() -> None:
    """In a container whose first process is this one, they would be killed together with it."""
    isolation, nothing = Isolation(), Nothing()
    lone: Any = isolation
    parts: Any = dict.fromkeys(
        ("redis", "blocking", "record", "catalog", "exporter", "configs", "gates"), nothing
    )
    settings = RunnerSettings.model_validate(
        {"redis_url": "redis://127.0.0.1:1", "runner_key": "k" * 40}
    )
    await Worker("runner-1", settings, isolation=lone, **parts).drain()
    assert isolation.patience_s > DRAIN_S + LETTING_GO_S


def test_all_of_it_takes_no_longer_than_is_promised() -> None:
    assert DRAIN_S + LETTING_GO_S + LONE_ENDS_S < 30 < ENDS_WITHIN_S
