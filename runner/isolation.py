"""Suspect runs get a process of their own each: started here, watched, and its death reported.

A run is suspect when two runners died with it. Its process is one as by `python -m runner --alone
RUN`, forked by a nursery, so that there can be many of them. It claims and renews under an id of
its own, so that the death of this process is none of the run's, and it ends when its standard input
closes, giving its run away like any runner that is asked to.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_urlsafe
from uuid import UUID

from pydantic import SecretStr

from runner.lone_process import LoneProcess, Nursery
from runner.record import Record
from shared.errors import BatonError
from shared.protocol.ids import uuid7
from shared.protocol.record import LONE_PREFIX, ClaimAnswer, Death
from shared.settings import RunnerSettings
from shared.telemetry.logs import bound, get_logger
from shared.telemetry.redact import secrets_of

log = get_logger(__name__)

#: Each takes some 30 MB of its own, and a fraction of a second to begin.
MOST_ALONE = 8


@dataclass(frozen=True, slots=True)
class Lone:
    """A process that may be started: its id as a runner, and the secret by which it is known."""

    id: str = field(default_factory=lambda: f"{LONE_PREFIX}{uuid7().hex}")
    secret: str = field(default_factory=lambda: token_urlsafe(32), repr=False)


class Isolation:
    """The lone processes of this runner, `MOST_ALONE` at a time."""

    def __init__(self, settings: RunnerSettings, record: Record) -> None:
        self._record = record
        self._secrets = [*_secret_settings(settings), *secrets_of(os.environ)]
        #: Places taken: offered with a claim that is under way, or used by a process.
        self._taken: set[Lone] = set()
        self._nursery = Nursery()
        self._processes: set[LoneProcess] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False

    def offer(self) -> Lone | None:
        """A process that could be started now; `settle` says whether it shall be."""
        if self._ending or len(self._taken) >= MOST_ALONE:
            return None
        lone = Lone()
        self._taken.add(lone)
        return lone

    def settle(self, lone: Lone, answer: ClaimAnswer) -> None:
        """Start the offered process for the suspect run, or give its place back."""
        if (run := answer.suspect) is None:
            self._taken.discard(lone)
            return
        with bound(**answer.suspect_names):
            carrying = self._carry(lone, run, answer.suspect_run_id)
            task = asyncio.create_task(carrying, name=f"alone {run}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        """Start nothing more, and ask what runs to give its run away."""
        self._ending = True
        for process in self._processes:
            process.ask_to_end()

    async def ended(self, *, within_s: float) -> None:
        """Wait until all have ended, and their deaths are reported; not longer than this."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        self._nursery.close()

    async def _carry(self, lone: Lone, run: UUID, run_id: str | None) -> None:
        process = LoneProcess(run, run_id, runner=lone.id, secret=lone.secret)
        self._processes.add(process)
        try:
            status = None if self._ending else await process.run(self._nursery)
            log.info("a lone process ended", lone=lone.id, status=status or "0")
            if status or self._ending:  # which may have come before its claim: others wait for that
                death = Death(
                    lone=lone.id,
                    status=status or "0",
                    lines=process.tail.lines([*self._secrets, lone.secret]),
                    told_to_end=self._ending,
                )
                await self._record.report_death(run, death, secret=lone.secret)
        except (OSError, BatonError):
            log.exception("a lone process could not be started or reported")
        finally:
            self._processes.discard(process)
            self._taken.discard(lone)


def _secret_settings(settings: RunnerSettings) -> list[str]:
    """What the settings keep secret, that what a dead process printed must not show."""
    values: Mapping[str, object] = dict(settings)
    return [one.get_secret_value() for one in values.values() if isinstance(one, SecretStr)]
