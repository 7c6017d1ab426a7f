"""What the bench makes of deaths: what its clients count, and its rows; drills kill for real."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from benchmarks import run, takeover
from benchmarks.takeover import Isolated, TakenOver, _Watch
from tests.benchmarks.test_bench import TINY


def event(thread: str, id_: str, kind: str) -> dict[str, Any]:
    return {"op": "event", "threadId": thread, "id": id_, "event": {"type": kind}}


def test_of_each_thread_the_first_event_of_its_next_claim_counts() -> None:
    watch = _Watch()
    watch._received(event("one", "1-1", "RUN_STARTED"))
    watch._received(event("two", "1-1", "RUN_STARTED"))
    watch._received(event("one", "1-2", "TEXT_MESSAGE_CHUNK"))
    assert watch.streaming == {"one"}
    with watch.next_claims() as claims:
        watch._received(event("one", "1-3", "TEXT_MESSAGE_CHUNK"))  # on its way at the death
        assert not claims
        watch._received(event("one", "2-1", "CUSTOM"))
        first = dict(claims)
        watch._received(event("one", "2-2", "MESSAGES_SNAPSHOT"))
        assert claims == first
        assert set(first) == {"one"}
    watch._received(event("one", "2-3", "RUN_FINISHED"))
    assert set(watch.ended) == {"one"}


@pytest.mark.asyncio
@pytest.mark.parametrize("frame", [event("one", "1-1", "RUN_ERROR"), {"op": "error", "code": "x"}])
async def test_a_run_that_fails_ends_the_bench(frame: dict[str, Any]) -> None:
    watch = _Watch()
    watch._received(frame)
    with pytest.raises(RuntimeError, match="1 failures"):
        await watch.until(lambda: False)


@pytest.mark.asyncio
async def test_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def taken(*_: object) -> TakenOver:
        return TakenOver(times_s=[3.0, 4.0, 6.0], shares=[2, 1])

    async def isolated(*_: object) -> Isolated:
        return Isolated(seconds=40.0, alone_s=15.0)

    @asynccontextmanager
    async def nothing(*_: object, **__: object) -> AsyncIterator[Any]:
        yield (None, None)

    monkeypatch.setattr(takeover, "take_over", taken)
    monkeypatch.setattr(takeover, "isolate", isolated)
    monkeypatch.setattr(run, "baton", nothing)
    monkeypatch.setattr(run, "timed_model", nothing)
    suspects, p50, p95, longest = (await run.Bench(TINY, ("takeover", "suspects")).run()).rows
    assert suspects.name == "4 runs made suspect by two kills → all ended"
    assert (suspects.unit, suspects.baton) == ("s", 40.0)
    assert (p50.baton, longest.baton, p95.reached) == (4.0, 6.0, False)
    assert p95.goal_in_words() == "≤ 5"
    assert longest.note == "the other runners took 2 and 1 of them"
