"""`python -m runner --alone RUN`: carries one suspect run, nothing beside it, and ends.

A runner starts it and tells it on standard input under which id and by which secret it goes. It has
no doorbell and listens on no port. When standard input closes, it gives its run away and ends: so
it does not outlive its starter by more than a hand-over takes.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import NoReturn
from uuid import UUID

import uvloop
from pydantic import BaseModel, ValidationError

from runner.app import models_of, opened_worker, parts_of, rules_file, working
from shared.process import end_if_stuck, end_with_supervisor
from shared.protocol.record import LONE_STARTS_WITHIN_S
from shared.settings import RunnerSettings
from shared.settings.models import ModelsConfig
from shared.settings.security import SecurityConfig
from shared.settings.security_file import SecurityFile
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

_MOST_BYTES = 4096
Rules = SecurityFile[SecurityConfig]


class Told(BaseModel):
    """What the starter says: who this process is."""

    runner: str
    secret: str
    #: The run's public id, for the log; a toolsvc of before does not say it.
    run_id: str | None = None


def carry_alone(settings: RunnerSettings, run: UUID) -> None:
    """Carry the run until it ends or has to be given away."""
    models, rules, told = models_of(settings), rules_file(settings), _told()
    end_with_supervisor()
    one = settings.model_copy(update={"concurrency": 1})
    loop = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    # It is cancelled where it was asked to end before that by itself.
    with loop, suppress(asyncio.CancelledError):
        loop.run(_carry(one, models, rules, run, told))


async def _carry(
    settings: RunnerSettings, models: ModelsConfig, rules: Rules, run: UUID, told: Told
) -> None:
    asked = _cancelled_by_signals()
    async with AsyncExitStack() as lifetime:
        async with _ended_if_stuck():
            opening = opened_worker(settings, models, rules, told.runner, told.secret)
            worker, _ = await lifetime.enter_async_context(opening)
        await lifetime.enter_async_context(working(worker, told.secret, parts_of(worker)))
        log.info("ready for one run", runner=told.runner, run=told.run_id)
        try:
            await worker.carry_alone(run)
        except asyncio.CancelledError:
            if not asked.is_set():
                _die_of_its_code()
            raise


@asynccontextmanager
async def _ended_if_stuck() -> AsyncIterator[None]:
    """An import of agents that never ends would keep its starter's place for good."""
    watching = asyncio.create_task(end_if_stuck(LONE_STARTS_WITHIN_S), name="stuck start")
    await asyncio.sleep(0)  # it watches from here on
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _die_of_its_code() -> NoReturn:
    """Agent code has cancelled what is not its own: a death, and no giving away."""
    print("The agent's code has cancelled the tasks of this process.", file=sys.stderr, flush=True)
    os._exit(1)


def _cancelled_by_signals() -> asyncio.Event:
    """The first SIGTERM or SIGINT cancels the present task; giving away is not interrupted.

    The event tells whether one has come.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    numbers, asked = (signal.SIGTERM, signal.SIGINT), asyncio.Event()

    def end() -> None:
        asked.set()
        for number in numbers:
            loop.add_signal_handler(number, lambda: None)
        if task:
            task.cancel()

    for number in numbers:
        loop.add_signal_handler(number, end)
    return asked


def _told() -> Told:
    """The starter's line, read byte by byte: what follows is its silence."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _MOST_BYTES:
        if not (byte := os.read(sys.stdin.fileno(), 1)):
            break
        line += byte
    try:
        return Told.model_validate_json(line)
    except ValidationError:
        _refuse()


def _refuse() -> NoReturn:
    print("`--alone` is for runners, which start such a process by themselves.", file=sys.stderr)
    raise SystemExit(2)
