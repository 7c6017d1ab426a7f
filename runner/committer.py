"""Commits of one run: one in flight, everything that waits goes into the next.

A step's commit carries the events since the last commit, so events and journal never differ. In
long steps events are committed every few seconds as well.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from runner.outbox import Outbox
from runner.record import Record, RunToken
from runner.steps import chained
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import (
    ClaimedRun,
    Commit,
    CommitAnswer,
    End,
    ForeignRow,
    Row,
    SpanRecord,
    StepRecord,
)
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

#: In a long step, events are committed this often.
EVENTS_EVERY_S = 5.0

#: Events of a run that is given up are committed by so much, which no limit is near to.
GIVEN_UP_CHARS = 8 * 1_048_576

#: Called when a commit was refused for good: the run must stop here.
Refused = Callable[[BatonError], None]


class Committer:
    """Commits for one claim, numbered from 1 on."""

    def __init__(
        self,
        record: Record,
        claimed: ClaimedRun,
        outbox: Outbox,
        *,
        spans: Callable[[], list[SpanRecord]],
        cut_off: Callable[[], list[SpanRecord]],
        stored: Callable[[list[SpanRecord]], None],
        refused: Refused,
    ) -> None:
        self._record, self._claimed, self._outbox = record, claimed, outbox
        self._spans, self._stored, self._refused = spans, stored, refused
        self._cut_off = cut_off
        self.token = RunToken(claimed.token, claimed.token_expires)
        self.cancelled = claimed.cancelled
        self._number = 0
        #: How many steps the journal has, and the digest of their chain.
        self.steps = len(claimed.journal)
        self.chain = chained("", *claimed.journal)
        #: Goes along with the next step.
        self.snapshot: str | None = None
        self._waiting: list[tuple[StepRecord | None, asyncio.Future[None]]] = []
        self._working: asyncio.Task[None] | None = None
        self._ending = False

    @property
    def at_rest(self) -> bool:
        """Whether nothing waits to be committed."""
        return self._working is None and not self._waiting

    async def step(self, step: StepRecord) -> None:
        """Commit a step; returns when SQL has it. Should it be refused, this never returns.

        The run is stopped then, and a stop must not travel through agent code.
        """
        await self._join(step)

    async def events(self) -> None:
        """Commit the events so far; never returns when that is refused."""
        await self._join(None)

    async def settle(self, tail: list[ForeignRow]) -> None:
        """The first commit of a take-over.

        Raises:
            BatonError: the commit is refused.
        """
        await self._send(self._next(tail=tail))

    async def finish(self, end: End) -> None:
        """The last commit, with the terminal event and whatever has not been committed.

        A step that an author's task comes with from now on never returns.

        Raises:
            BatonError: the commit is refused.
        """
        self._ending = True
        if self._working is not None:
            await self._working
        await self._commit([], end)

    async def leave(self) -> None:
        """The last commit of a claim that is given away: what only Redis has so far, and the run.

        Raises:
            BatonError: the commit is refused.
        """
        self._ending = True
        if self._working is not None:
            await self._working
        await self._commit([], None, leaves=True)

    async def give_up(self, end: End, tail: list[ForeignRow] | None) -> None:
        """The last commits of a run whose end was refused: its events, and nothing that may go.

        `tail` is empty where the first commit of a take-over was refused, and else `None`.

        Raises:
            BatonError: a commit is refused.
        """
        self._ending = True
        if self._working is not None:
            await self._working
        rows: list[Row] = []
        for row in self._outbox.uncommitted(ending=True):
            if rows and sum(len(one.data) for one in [*rows, row]) > GIVEN_UP_CHARS:
                await self._send(self._next(tail=tail, rows=rows))
                self._outbox.committed(rows[-1].seq_to)
                rows, tail = [], None
            rows.append(row)
        await self._send(self._next(tail=tail, rows=rows, end=end))
        self._outbox.committed(rows[-1].seq_to)

    async def _join(self, step: StepRecord | None) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._ending:
            self._waiting.append((step, done))
        if self._working is None and not self._ending:
            # A task of its own: a cancelled caller must not tear a commit apart.
            self._working = asyncio.create_task(self._work(), name="commit")
        await done

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._commit([step for step, _ in batch if step is not None], None)
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)
        except BatonError as error:
            self._refused(error)
        except Exception:
            log.exception("a commit could not be made")
            self._refused(BatonError(Code.INTERNAL))
        finally:
            self._working = None

    async def _commit(
        self, steps: list[StepRecord], end: End | None, *, leaves: bool = False
    ) -> None:
        rows, spans = self._outbox.uncommitted(ending=end is not None), self._spans()
        spans += self._cut_off() if end else []
        if not (rows or spans or steps or end or leaves):
            return
        snapshot, self.snapshot = (self.snapshot, None) if steps else (None, self.snapshot)
        await self._send(
            self._next(
                rows=rows, steps=steps, spans=spans, snapshot=snapshot, end=end, leaves=leaves
            )
        )
        self.steps, self.chain = self.steps + len(steps), chained(self.chain, *steps)
        if rows:
            self._outbox.committed(rows[-1].seq_to)
        self._stored(spans)

    def _next(self, **brought: Any) -> Commit:
        return Commit(fence=self._claimed.fence, n=self._number + 1, **brought)

    async def _send(self, commit: Commit) -> None:
        answer: CommitAnswer = await self._record.commit(self._claimed.run, self.token, commit)
        self._number = commit.n
        self.cancelled = self.cancelled or answer.cancelled
