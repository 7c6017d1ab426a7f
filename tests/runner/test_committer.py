"""Commits of one run: numbered, one in flight, and whatever waits goes with the next."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from runner.committer import Committer
from runner.outbox import Outbox
from shared.errors import BatonError, FencedError
from shared.protocol.codes import Code
from shared.protocol.record import (
    ClaimedRun,
    Commit,
    CommitAnswer,
    End,
    ForeignRow,
    Outcome,
    SpanRecord,
    StepRecord,
)

pytestmark = pytest.mark.asyncio

FENCE = 4


class RecordDouble:
    """toolsvc: keeps commits, holds answers back, refuses."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.refuses: BatonError | None = None
        self.cancelled = False

    async def commit(self, _run: Any, _token: str, commit: Commit) -> CommitAnswer:
        self.commits.append(commit)
        await self.may_answer.wait()
        if self.refuses:
            refusal, self.refuses = self.refuses, None
            raise refusal
        return CommitAnswer(cancelled=self.cancelled)


class Bench:
    """A committer with an outbox, spans, and ears for its refusals."""

    def __init__(self) -> None:
        self.record = RecordDouble()
        self.outbox = Outbox(
            thread=uuid4(), run_id="r", fence=FENCE, starts=[], ttl_s=60, changed=lambda _: None
        )
        self.spans: list[SpanRecord] = []
        self.stored: list[SpanRecord] = []
        self.refusals: list[BatonError] = []
        double: Any = self.record
        claimed = ClaimedRun(
            run=(run := uuid4()),
            root=run,
            thread=self.outbox.thread,
            user=uuid4(),
            run_id="r",
            thread_id="t",
            agent="A",
            fence=FENCE,
            starts=[],
            sql_last=(0, 0),
            history=[],
            messages=[],
            input={},
            token="token",
            token_expires=0,
        )
        self.committer = Committer(
            double,
            claimed,
            self.outbox,
            spans=self._take,
            cut_off=list,
            stored=self.stored.extend,
            refused=self.refusals.append,
        )

    def _take(self) -> list[SpanRecord]:
        taken, self.spans = self.spans, []
        return taken

    def emit(self) -> None:
        self.outbox.emit({"type": "CUSTOM", "name": "x", "value": 1})

    @property
    def numbers(self) -> list[int]:
        return [commit.n for commit in self.record.commits]


def step(place: str) -> StepRecord:
    return StepRecord(scope="s", kind="model", place=place, digest="d", record="{}")


async def turn() -> None:
    """Let every task come as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_step_brings_the_events_and_spans_since_the_last_commit() -> None:
    bench = Bench()
    span = SpanRecord(id="s1", started="now", data={})
    bench.spans = [span]
    bench.emit()
    await bench.committer.step(step("0"))
    bench.emit()
    await bench.committer.step(step("1"))
    first, second = bench.record.commits
    assert ([row.seq for row in first.rows], first.spans) == ([2], [span])
    assert ([row.seq for row in second.rows], second.spans) == ([3], [])
    assert (bench.numbers, bench.stored) == ([1, 2], [span])


async def test_what_comes_during_a_commit_goes_together_into_the_next() -> None:
    bench = Bench()
    bench.record.may_answer.clear()
    steps = [asyncio.create_task(bench.committer.step(step(str(n)))) for n in range(4)]
    await turn()
    assert [len(commit.steps) for commit in bench.record.commits] == [4]
    more = [asyncio.create_task(bench.committer.step(step(str(n)))) for n in range(4, 7)]
    await turn()
    assert len(bench.record.commits) == 1
    bench.record.may_answer.set()
    await asyncio.gather(*steps, *more)
    assert [one.place for one in bench.record.commits[1].steps] == ["4", "5", "6"]


async def test_nothing_to_say_is_no_commit() -> None:
    bench = Bench()
    await bench.committer.events()
    assert bench.record.commits == []


async def test_a_cancelled_caller_tears_no_commit_apart() -> None:
    bench = Bench()
    bench.record.may_answer.clear()
    waiting = asyncio.create_task(bench.committer.step(step("0")))
    await turn()
    waiting.cancel()
    await turn()
    bench.record.may_answer.set()
    await bench.committer.finish(End(outcome=Outcome.CANCELLED))
    assert bench.numbers == [1, 2]
    assert bench.record.commits[1].end == End(outcome=Outcome.CANCELLED)


async def test_the_terminal_event_goes_with_the_end_alone_whatever_others_still_do() -> None:
    """A run that has failed may have tools that go on, and agents used as tools."""
    bench = Bench()
    bench.record.may_answer.clear()
    steps = [asyncio.create_task(bench.committer.step(step("0")))]
    await turn()
    steps.append(asyncio.create_task(bench.committer.step(step("1"))))  # it waits for the first
    await turn()
    bench.outbox.hold_back({"type": "RUN_ERROR"})
    finishing = asyncio.create_task(bench.committer.finish(End(outcome=Outcome.FAILED)))
    await turn()
    bench.emit()
    late = asyncio.create_task(bench.committer.step(step("2")))
    bench.record.may_answer.set()
    await asyncio.gather(*steps, finishing)
    assert [[one.place for one in commit.steps] for commit in bench.record.commits] == [
        ["0"],
        ["1"],
        [],
    ]
    assert [[row.type for row in commit.rows] for commit in bench.record.commits] == [
        [],
        [],
        ["RUN_ERROR"],
    ]
    assert bench.numbers == [1, 2, 3]
    await turn()
    assert not late.done()
    late.cancel()


async def test_a_refused_step_never_returns_and_leaves_its_number_free() -> None:
    bench = Bench()
    bench.emit()
    bench.record.refuses = BatonError(Code.BAD_INPUT)
    waiting = asyncio.create_task(bench.committer.step(step("0")))
    await turn()
    assert [refusal.code for refusal in bench.refusals] == [Code.BAD_INPUT]
    assert not waiting.done()
    waiting.cancel()
    await bench.committer.finish(End(outcome=Outcome.FAILED))
    assert bench.numbers == [1, 1]
    last = bench.record.commits[-1]
    assert ([row.seq for row in last.rows], last.steps) == ([2], [])


@pytest.mark.parametrize("rows", [[], ["CUSTOM"]])
async def test_who_gives_a_run_away_says_so_and_leaves_nothing_to_redis_alone(
    rows: list[str],
) -> None:
    bench = Bench()
    for type_ in rows:
        bench.outbox.emit({"type": type_, "name": "half"})
    await bench.committer.leave()
    (left,) = bench.record.commits
    assert ([row.type for row in left.rows], left.steps, left.end) == (rows, [], None)
    assert left.leaves


async def test_a_lost_fence_is_told_by_the_finish_and_by_the_first_commit() -> None:
    bench = Bench()
    for attempt in (
        bench.committer.settle([ForeignRow(1, 2, "CUSTOM", "{}")]),
        bench.committer.finish(End(outcome=Outcome.FINISHED)),
        bench.committer.leave(),
    ):
        bench.outbox.emit({"type": "CUSTOM", "name": "said"})
        bench.record.refuses = FencedError(FENCE)
        with pytest.raises(FencedError):
            await attempt


async def test_a_take_over_settles_with_its_tail_before_all_else() -> None:
    bench = Bench()
    tail = [ForeignRow(1, 2, "CUSTOM", "{}")]
    await bench.committer.settle(tail)
    bench.emit()
    await bench.committer.events()
    first, second = bench.record.commits
    assert (first.n, first.tail, first.rows) == (1, tail, [])
    assert (second.n, second.tail, len(second.rows)) == (2, None, 1)


async def test_a_cancel_that_any_answer_brought_is_remembered() -> None:
    bench = Bench()
    bench.record.cancelled = True
    await bench.committer.step(step("0"))
    bench.record.cancelled = False
    await bench.committer.step(step("1"))
    assert bench.committer.cancelled


async def test_who_gives_up_brings_events_a_few_at_a_time_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runner.committer.GIVEN_UP_CHARS", 300)
    bench = Bench()
    bench.spans.append(SpanRecord(id="s", started="now", data={}))
    for _ in range(9):
        bench.outbox.emit({"type": "CUSTOM", "value": "x" * 100})
    await bench.committer.give_up(End(outcome=Outcome.FAILED), [])
    commits = bench.record.commits
    assert bench.numbers == list(range(1, len(commits) + 1))
    assert [row.seq for commit in commits for row in commit.rows] == list(range(2, 11))
    assert max(len(commit.rows) for commit in commits) == 2
    assert [commit.tail for commit in commits] == [[], *[None] * (len(commits) - 1)]
    assert [bool(commit.end) for commit in commits] == [*[False] * (len(commits) - 1), True]
    assert not any(commit.spans for commit in commits)
