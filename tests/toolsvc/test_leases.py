"""Leases: kept by heartbeats, judged by the database's clock, and by nobody who has just woken."""

import time
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.protocol.record import RUN_TOKEN_LIFE_S, ClaimedRun
from shared.tokens import LEEWAY_S, RENEWABLE_FOR_S, mint_run_token, verify_run_token
from tests.toolsvc.record_rig import (
    RUNNER_KEY,
    TOKEN_KEY,
    RecordRig,
    RunnerDouble,
    refused,
)
from toolsvc.runs import close
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
    assert (await leaving.leave()).status_code == 200
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


# ------------------------------------------------------------------------------ run tokens
def minted(claimed: ClaimedRun, *, key: str = TOKEN_KEY, life_s: int = 60, **changes: Any) -> str:
    """A token like that of the claim, with changes."""
    return mint_run_token(
        key, replace(verify_run_token(TOKEN_KEY, claimed.token), **changes), life_s=life_s
    )


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_token_is_renewed_against_itself_and_only_for_carried_runs(rig: RecordRig) -> None:
    ada = await rig.person()
    await rig.run(ada)
    await rig.run(ada)
    runner = await rig.runner()
    mine, lost = await runner.claim(), await runner.claim()
    await rig.sql("UPDATE runs SET runner_id = 'other' WHERE id = :run", run=lost.run)
    tokens = (
        await runner.beat(mine, lost, tokens={mine.run: mine.token, lost.run: lost.token})
    ).tokens
    assert set(tokens) == {mine.run}
    token, expires = tokens[mine.run]
    assert expires > time.time() + RUN_TOKEN_LIFE_S - 5
    old, new = (verify_run_token(TOKEN_KEY, one) for one in (mine.token, token))
    assert replace(new, expires=0) == replace(old, expires=0)


@pytest.mark.stores
@pytest.mark.asyncio
async def test_whoever_only_names_a_run_gets_no_token_for_it(rig: RecordRig) -> None:
    await rig.run(await rig.person())
    runner = await rig.runner()
    claimed = await runner.claim()
    expired = claimed.model_copy(update={"token_expires": 1})
    for attempt in (None, {}, {uuid4(): claimed.token}):
        assert (await runner.beat(expired, tokens=attempt)).tokens == {}


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_pause_of_ours_does_not_keep_a_token_from_being_renewed(rig: RecordRig) -> None:
    await rig.run(await rig.person())
    runner = await rig.runner()
    claimed = await runner.claim()
    late = minted(claimed, life_s=LEEWAY_S - RENEWABLE_FOR_S)
    tokens = (await runner.beat(claimed, tokens={claimed.run: late})).tokens
    assert verify_run_token(TOKEN_KEY, tokens[claimed.run][0]).fence == claimed.fence


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_token_of_something_else_renews_nothing_and_spoils_nothing(rig: RecordRig) -> None:
    ada = await rig.person()
    await rig.run(ada)
    await rig.run(ada)
    runner = await rig.runner()
    claimed, other = await runner.claim(), await runner.claim()
    for token in (
        "",
        "nonsense",
        minted(claimed, fence=claimed.fence + 1),
        minted(claimed, key="a key of somebody else with 32 bytes or more"),
        minted(claimed, life_s=-RENEWABLE_FOR_S - LEEWAY_S - 5),
        other.token,
    ):
        named = {claimed.run: token, other.run: other.token}
        answer = await runner.beat(claimed, other, tokens=named)
        assert (set(answer.tokens), answer.fenced) == ({other.run}, [])


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_token_of_an_older_claim_renews_nothing(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    runner = await rig.runner()
    old = await runner.claim()
    await rig.sql("UPDATE runs SET runner_id = NULL")
    new = await runner.claim(run)
    for named in (old, new):
        assert (await runner.beat(named, tokens={run: old.token})).tokens == {}


# ------------------------------------------------------------------------------ whose id it is
@pytest.mark.stores
@pytest.mark.asyncio
@pytest.mark.parametrize("secret", [None, "", "another's"])
async def test_nobody_else_speaks_under_a_runners_id(rig: RecordRig, secret: str | None) -> None:
    runner = await rig.runner()
    await rig.run(await rig.person())
    claimed = await runner.claim()
    await grow_old(rig, claimed.run, 3600)
    before = await rig.one("SELECT * FROM runners")
    impostor = RunnerDouble(rig, runner.id, secret)
    for answer in (
        await impostor.try_beat(),
        await impostor.announce({"Stolen": {}}),
        await impostor.leave(),
    ):
        assert refused(answer) == (403, "forbidden")
    assert await rig.one("SELECT * FROM runners") == before
    assert (await runner.beat(claimed)).fenced == []


@pytest.mark.stores
@pytest.mark.asyncio
async def test_of_a_secret_only_its_digest_is_kept(rig: RecordRig) -> None:
    await rig.runner(secret="a secret")
    assert (await rig.one("SELECT secret FROM runners")).secret == sha256(b"a secret").digest()


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_runner_of_an_older_release_shows_no_secret_until_somebody_does(
    rig: RecordRig,
) -> None:
    old = await rig.runner(secret=None)
    await old.beat()
    new = RunnerDouble(rig, old.id, "its own")
    await new.beat()
    assert refused(await old.try_beat()) == (403, "forbidden")
    assert (await new.leave()).status_code == 200


@pytest.mark.stores
@pytest.mark.asyncio
async def test_the_runner_key_does_not_reach_the_lease_of_a_toolsvc(rig: RecordRig) -> None:
    services = rig.services
    async with close._own_lease(services):
        impostor = RunnerDouble(rig, services.instance, "guessed")
        assert refused(await impostor.leave()) == (403, "forbidden")
        assert await lease_left_s(rig, services.instance) > 0


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
    {"tokens": ["x"]},
    {"tokens": {"x": "y"}},
    {"tokens": {str(UUID(int=1)): None}},
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
