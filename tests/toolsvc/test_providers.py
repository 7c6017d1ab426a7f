"""What a fleet of runners agrees on about a model server, by way of heartbeats and SQL."""

import asyncio
from typing import Any

import pytest

from shared.protocol.providers import ProviderNews, State
from tests.toolsvc.record_rig import RecordRig, RunnerDouble

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


async def say(runner: RunnerDouble, provider: str = "p", **report: Any) -> ProviderNews:
    """A heartbeat that speaks of one provider; by itself the third failure opens it."""
    said = {"breaker_failures": 3, "breaker_open_s": 10} | report
    return (await runner.beat(providers={provider: said})).providers[provider]


async def time_passes(rig: RecordRig, seconds: float) -> None:
    """Everything that SQL holds of providers happened so much longer ago."""
    await rig.sql(
        "UPDATE model_providers SET failed_at = failed_at - make_interval(secs => :s), "
        "open_until = open_until - make_interval(secs => :s), "
        "held_until = held_until - make_interval(secs => :s), "
        "probe_until = probe_until - make_interval(secs => :s)",
        s=seconds,
    )
    await rig.sql(
        "UPDATE provider_loads SET seen_at = seen_at - make_interval(secs => :s)", s=seconds
    )


# ------------------------------------------------------------------ shares
async def test_a_limit_is_divided_among_runners_and_follows_what_they_need(rig: RecordRig) -> None:
    a, b = await rig.runner("a"), await rig.runner("b")
    assert (await say(a, limit=4, waiting=9)).share == 4
    assert (await say(b, limit=4, waiting=9)).share == 0  # all is promised to the other
    assert (await say(a, limit=4, active=4, waiting=5)).share == 2
    assert (await say(b, limit=4, waiting=9)).share == 0  # and in use there
    assert (await say(a, limit=4, active=2, waiting=5)).share == 2
    assert (await say(b, limit=4, waiting=9)).share == 2
    assert (await say(a, limit=4)).share == 1
    assert (await say(b, limit=4, active=2, waiting=7)).share == 3


async def test_what_a_runner_had_is_free_again_when_it_is_gone(rig: RecordRig) -> None:
    a, b = await rig.runner("a"), await rig.runner("b")
    await say(a, limit=2, active=2)
    assert (await say(b, limit=2, waiting=2)).share == 0
    await time_passes(rig, 5)
    assert (await say(b, limit=2, waiting=2)).share == 2
    await time_passes(rig, 61)
    await say(b, limit=2)
    assert [row.runner for row in await rig.sql("SELECT runner FROM provider_loads")] == ["b"]


async def test_providers_do_not_concern_each_other(rig: RecordRig) -> None:
    a, b = await rig.runner("a"), await rig.runner("b")
    assert (await say(a, "p", limit=2)).share == 2
    assert (await say(b, "q", limit=2, failed=3, streak=3)).state is State.OPEN
    assert await say(a, "p") == ProviderNews()
    assert (await a.beat(providers={})).providers == {}


async def test_many_heartbeats_at_once_agree_and_wait_for_nobody(rig: RecordRig) -> None:
    runners = [await rig.runner(f"r{n}") for n in range(8)]
    for round_ in range(4):
        both = {"p": {"limit": 8, "waiting": 5}, "q": {"failed": round_, "streak": round_}}
        swapped = dict(reversed(both.items()))
        answers = await asyncio.gather(
            *(one.beat(providers=both if n % 2 else swapped) for n, one in enumerate(runners))
        )
    for one in runners:
        answers.append(await one.beat(providers=both))
    assert [one.providers["p"].share for one in answers[8:]] == [1] * 8
    (row,) = await rig.sql("SELECT failures FROM model_providers WHERE name = 'q'")
    assert row.failures == 8 * 3


# ------------------------------------------------------------------ the breaker
async def test_failures_in_a_row_over_all_runners_open_it_for_all(rig: RecordRig) -> None:
    a, b = await rig.runner("a"), await rig.runner("b")
    assert (await say(a, failed=2, streak=2)).state is State.CLOSED
    news = await say(b, failed=1, streak=1)
    assert news.state is State.OPEN
    assert 9 < news.open_s <= 10
    assert (await say(a, failed=2, streak=2)).state is State.OPEN


async def test_saying_the_same_again_counts_once(rig: RecordRig) -> None:
    runner = await rig.runner()
    for _ in range(5):
        assert (await say(runner, failed=2, streak=2)).state is State.CLOSED


async def test_an_answer_in_between_begins_the_count_anew(rig: RecordRig) -> None:
    a, b = await rig.runner("a"), await rig.runner("b")
    await say(a, failed=2, streak=2)
    await say(b, answered=1)
    assert (await say(a, failed=4, streak=4)).state is State.CLOSED
    assert (await say(b, answered=2, failed=3, streak=3)).state is State.OPEN


async def test_failures_of_long_ago_do_not_count(rig: RecordRig) -> None:
    runner = await rig.runner()
    await say(runner, failed=2, streak=2)
    await time_passes(rig, 61)
    assert (await say(runner, failed=4, streak=4)).state is State.CLOSED


async def test_when_its_time_is_over_one_call_of_one_runner_tries(rig: RecordRig) -> None:
    a, b, c = await rig.runner("a"), await rig.runner("b"), await rig.runner("c")
    await say(a, failed=3, streak=3, waiting=1)
    await time_passes(rig, 11)
    news = [
        await say(c),
        await say(b, waiting=2),
        await say(a, failed=3, streak=3, waiting=5),
        await say(b, active=1, waiting=1),
        await say(a, failed=3, streak=3, waiting=5),
    ]
    assert {one.state for one in news} == {State.HALF_OPEN}
    assert [one.share for one in news] == [0, 1, 0, 1, 0]


async def test_a_try_that_succeeds_closes_it_and_one_that_fails_opens_it_again(
    rig: RecordRig,
) -> None:
    a, b = await rig.runner("a"), await rig.runner("b")
    await say(a, failed=3, streak=3)
    await time_passes(rig, 11)
    assert (await say(b, waiting=1)).share == 1
    assert (await say(b, failed=1, streak=1)).state is State.OPEN
    await time_passes(rig, 11)
    assert (await say(b, failed=1, streak=1, waiting=1)).share == 1
    assert (await say(b, failed=1, streak=0, answered=1)).state is State.CLOSED
    assert (await say(a, failed=3, streak=3)).state is State.CLOSED


async def test_whoever_was_to_try_and_is_gone_or_has_no_call_any_more_is_replaced(
    rig: RecordRig,
) -> None:
    a, b = await rig.runner("a"), await rig.runner("b")
    await say(a, failed=3, streak=3)
    await time_passes(rig, 11)
    assert (await say(a, failed=3, streak=3, waiting=1)).share == 1
    assert (await say(b, waiting=1)).share == 0
    await time_passes(rig, 5)
    assert (await say(b, waiting=1)).share == 1
    assert (await say(a, failed=3, streak=3, waiting=1)).share == 0
    assert (await say(b)).share == 0
    assert (await say(a, failed=3, streak=3, waiting=1)).share == 1


# ------------------------------------------------------------------ Retry-After
async def test_what_one_runner_was_asked_to_wait_all_wait(rig: RecordRig) -> None:
    a, b = await rig.runner("a"), await rig.runner("b")
    assert (await say(a, hold_s=8.0)).held_s > 7
    assert 7 < (await say(b)).held_s <= 8
    assert 7 < (await say(b, hold_s=2.0)).held_s <= 8
    await time_passes(rig, 9)
    assert (await say(b)).held_s == 0


# ------------------------------------------------------------------ what goes wrong
@pytest.mark.parametrize(
    "report",
    [{"active": -1}, {"hold_s": 1e9}, {"limit": 0}, {"failed": 2**63}, {"breaker_open_s": 0}],
)
async def test_what_makes_no_sense_is_refused(rig: RecordRig, report: dict[str, Any]) -> None:
    runner = await rig.runner()
    assert (await runner.try_beat(providers={"p": report})).status_code == 422
    assert (await runner.try_beat(providers={"p\0": {}})).status_code == 422


async def test_a_lease_is_renewed_whatever_becomes_of_this(rig: RecordRig) -> None:
    runner = await rig.runner()
    await runner.lose_lease()
    await rig.sql("ALTER TABLE provider_loads RENAME TO gone")
    answer = await runner.beat(providers={"p": {"limit": 3}})
    assert answer.providers == {}
    left = "SELECT lease_until > now() + interval '3 s' AS renewed FROM runners"
    assert (await rig.one(left)).renewed
