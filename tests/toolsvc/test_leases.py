"""Leases: kept by heartbeats, judged by the database's clock, and by nobody who has just woken."""

import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from shared.tokens import RUN_TOKEN_LIFE_S, verify_run_token
from tests.toolsvc.record_rig import RUNNER_KEY, TOKEN_KEY, RecordRig, opened, refused
from toolsvc.runs.lease import LeaseJudge


# ------------------------------------------------------------------------------ the judge's rules
def judge_that_served(*times: float, lease_s: float = 4.0) -> LeaseJudge:
    judge = LeaseJudge(lease_s)
    for at in times:
        judge.served(now=at)
    return judge


def test_an_instance_does_not_judge_before_it_has_served() -> None:
    assert not LeaseJudge(4.0).may_judge(now=1000.0)


def test_it_judges_after_a_leases_life_of_serving_without_a_gap() -> None:
    judge = judge_that_served(10.0, 11.0, 12.0, 13.0)
    assert not judge.may_judge(now=13.9)
    judge.served(now=14.0)
    assert judge.may_judge(now=14.0)


def test_a_silence_before_this_very_moment_counts_as_a_gap() -> None:
    judge = judge_that_served(*(10.0 + n for n in range(20)))
    assert judge.may_judge(now=30.5)
    assert not judge.may_judge(now=31.1)


def test_after_a_pause_the_wait_begins_anew() -> None:
    judge = judge_that_served(*(10.0 + n for n in range(20)), 35.0)
    assert not judge.may_judge(now=35.0)
    for at in (36.0, 37.0, 38.0, 39.0):
        judge.served(now=at)
    assert judge.may_judge(now=39.0)


def test_after_a_failure_the_wait_begins_anew() -> None:
    judge = judge_that_served(*(10.0 + n for n in range(20)))
    judge.failed()
    assert not judge.may_judge(now=29.1)
    judge.served(now=29.2)
    assert not judge.may_judge(now=29.3)


# ------------------------------------------------------------------------------ heartbeats
@pytest_asyncio.fixture
async def rig(database_url: str, redis_url: str) -> AsyncIterator[RecordRig]:
    async with opened(database_url, redis_url) as made:
        yield made


async def lease_left_s(rig: RecordRig, runner: str) -> float:
    row = await rig.one(
        "SELECT EXTRACT(epoch FROM lease_until - now()) AS left FROM runners WHERE id = :id",
        id=runner,
    )
    return float(row.left)


async def grow_old(rig: RecordRig, run: UUID, seconds: float) -> None:
    await rig.sql(
        "UPDATE runs SET claimed_at = claimed_at - make_interval(secs => :s) WHERE id = :run",
        run=run,
        s=seconds,
    )


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_heartbeat_renews_the_lease_for_its_life(rig: RecordRig) -> None:
    runner = await rig.runner()
    await runner.lose_lease()
    answer = await runner.beat()
    assert answer.lease_s == 4.0
    assert 3.0 < await lease_left_s(rig, "r1") <= 4.0


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_runner_that_leaves_gives_its_runs_away_at_once(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    leaving, staying = await rig.runner("leaving"), await rig.runner("staying")
    await leaving.claim()
    await leaving.leave()
    assert await lease_left_s(rig, "leaving") <= 0
    assert (await staying.claim(run)).fence == 2


@pytest.mark.stores
@pytest.mark.asyncio
async def test_announcing_again_does_not_lengthen_a_lease(rig: RecordRig) -> None:
    runner = await rig.runner()
    await runner.lose_lease()
    await runner.announce({"Assistant": {}})
    assert await lease_left_s(rig, "r1") < 0


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_runner_hears_of_cancels_and_of_lost_runs(rig: RecordRig) -> None:
    ada = await rig.person()
    runs = [await rig.run(ada) for _ in range(4)]
    runner = await rig.runner()
    kept, cancelled, lost, ended = [await runner.claim() for _ in runs]
    await rig.cancel(cancelled.run)
    await rig.cancel(lost.run)
    await rig.committed(ended, end={"outcome": "finished"})
    await rig.sql("UPDATE runs SET runner_id = 'other' WHERE id = :run", run=lost.run)
    unknown = kept.model_copy(update={"run": uuid4()})
    news = await runner.beat(kept, cancelled, lost, ended, unknown)
    assert news.cancelled == [cancelled.run]
    assert set(news.fenced) == {lost.run, ended.run, unknown.run}
    assert news.tokens == {}


@pytest.mark.stores
@pytest.mark.asyncio
async def test_an_older_claim_of_the_same_runner_is_told_that_it_is_lost(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    runner = await rig.runner()
    old = await runner.claim()
    await runner.lose_lease()
    await runner.beat()
    await rig.sql("UPDATE runs SET runner_id = NULL")
    new = await runner.claim(run)
    assert (await runner.beat(old)).fenced == [run]
    assert (await runner.beat(new)).fenced == []


@pytest.mark.stores
@pytest.mark.asyncio
async def test_tokens_are_renewed_in_their_second_half_and_only_for_carried_runs(
    rig: RecordRig,
) -> None:
    ada = await rig.person()
    await rig.run(ada)
    await rig.run(ada)
    runner = await rig.runner()
    mine, lost = await runner.claim(), await runner.claim()
    await rig.sql("UPDATE runs SET runner_id = 'other' WHERE id = :run", run=lost.run)
    assert (await runner.beat(mine, lost)).tokens == {}
    soon = int(time.time() + RUN_TOKEN_LIFE_S / 2) - 5
    tokens = (await runner.beat(mine, lost, expires=soon)).tokens
    assert set(tokens) == {mine.run}
    token, expires = tokens[mine.run]
    assert expires > time.time() + RUN_TOKEN_LIFE_S - 5
    assert verify_run_token(TOKEN_KEY, token).fence == mine.fence


# ------------------------------------------------------------------------------ a lost answer
@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_run_whose_claim_was_never_heard_of_is_set_free_after_a_leases_life(
    rig: RecordRig,
) -> None:
    run = await rig.run(await rig.person())
    runner = await rig.runner()
    await runner.claim()  # and its answer is lost
    await runner.beat()
    assert (await rig.run_row(run)).runner_id == "r1"
    await grow_old(rig, run, 5)
    await runner.beat()
    assert (await rig.run_row(run)).runner_id is None
    again = await runner.claim(run)
    assert (again.fence, again.first) == (2, False)


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_run_that_its_runner_names_is_never_set_free(rig: RecordRig) -> None:
    await rig.run(await rig.person())
    runner = await rig.runner()
    claimed = await runner.claim()
    await grow_old(rig, claimed.run, 3600)
    assert (await runner.beat(claimed)).fenced == []
    assert (await rig.run_row(claimed.run)).runner_id == "r1"


# ------------------------------------------------------------------------------ bad input
BAD_BEATS: list[Any] = [
    b"",
    {"runs": [["x", 1, 1]]},
    {"runs": [[str(UUID(int=1)), 1]]},
    {"runs": {}},
    {"version": "a\0"},
]
BAD_CATALOGUES: list[Any] = [
    b"",
    {},
    {"agents": []},
    {"agents": {"A": 1}},
    {"agents": {"A": {"description": "a\0b"}}},
    {"agents": {"A\0": {}}},
    {"agents": {}, "broken": {"B": "\0"}},
    b'{"agents": {"A": {"x": NaN}}}',
]


@pytest.mark.stores
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "body"),
    [("heartbeat", body) for body in BAD_BEATS] + [("catalogue", body) for body in BAD_CATALOGUES],
)
async def test_what_makes_no_sense_is_refused(rig: RecordRig, path: str, body: Any) -> None:
    answer = await rig.post(f"/runners/r9/{path}", body, RUNNER_KEY)
    assert refused(answer) == (422, "bad_input")
    assert await rig.sql("SELECT * FROM runners") == []


@pytest.mark.stores
@pytest.mark.asyncio
async def test_every_runners_route_wants_the_runners_key(rig: RecordRig) -> None:
    for path in ("heartbeat", "catalogue"):
        answer = await rig.post(f"/runners/r9/{path}", {"agents": {}}, "wrong")
        assert refused(answer) == (401, "not_signed_in")
    assert refused(await rig.http.delete("/runners/r9")) == (401, "not_signed_in")
