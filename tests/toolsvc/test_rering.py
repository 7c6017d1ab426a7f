"""Ringing again: only for runs that nobody hears, and only where somebody could answer."""

import asyncio
import random
from typing import Any
from uuid import UUID

import pytest

from shared.bus import doorbell
from shared.bus.doorbell import Ring
from shared.bus.keys import GROUP, RUNS
from shared.settings import ToolsvcSettings
from shared.telemetry.metrics import LEASES
from shared.web.middleware import Outermost
from tests.toolsvc.record_rig import GATEWAY_KEY, RUNNER_KEY, TOKEN_KEY, RecordRig, opened
from tests.until import until
from toolsvc.app import make_app
from toolsvc.runs import rering
from toolsvc.runs.record import Record
from toolsvc.runs.rering import _look
from toolsvc.services import Services

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

#: So long that no living reader takes it to ask, and that this machine does not sleep.
LONG_MS = 60_000


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read in a test is as fresh when the test looks."""
    monkeypatch.setattr(doorbell, "LOST_AFTER_MS", LONG_MS // 2)


async def look(rig: RecordRig) -> int:
    """One look; how many entries there are then."""
    await _look(rig.services)
    return int(await rig.redis.xlen(RUNS))


async def hear(rig: RecordRig) -> list[UUID | None]:
    """A runner reads and answers everything."""
    bells = await doorbell.listen(rig.redis, "reader", most=100, block_ms=1)
    await doorbell.answered(rig.redis, bells)
    return [bell.run for bell in bells]


async def test_a_queued_run_whose_entry_was_lost_is_rung_for_once(rig: RecordRig) -> None:
    await rig.runner()
    run = await rig.run(await rig.person())
    assert await look(rig) == 1
    assert await look(rig) == 1
    assert await rig.rung() == {run}


async def test_an_instance_that_looks_is_seen_to_live_and_counts_as_no_runner(
    rig: RecordRig,
) -> None:
    await _look(rig.services)
    living = "SELECT agents FROM runners WHERE id = 'toolsvc-test' AND lease_until > now()"
    assert [row.agents for row in await rig.sql(living)] == [None]
    assert LEASES._value.get() == 0


async def test_a_run_that_somebody_hears_of_is_not_rung_for(rig: RecordRig) -> None:
    await rig.runner()
    ada = await rig.person()
    heard, lost = await rig.run(ada), await rig.run(ada)
    await doorbell.ring(rig.redis, [Ring(heard, UUID(int=1))])
    assert await look(rig) == 2
    assert await rig.rung() == {heard, lost}


async def test_after_a_flush_all_are_rung_for_again(rig: RecordRig) -> None:
    await rig.runner()
    ada = await rig.person()
    runs = [await rig.run(ada) for _ in range(5)]
    assert await look(rig) == 5
    await rig.redis.flushall()
    assert await look(rig) == 5
    assert await hear(rig) == runs  # the group is there again, and the order is that of the turns


async def test_entries_lost_in_part_are_made_up_for(rig: RecordRig) -> None:
    await rig.runner()
    ada = await rig.person()
    runs = {await rig.run(ada) for _ in range(4)}
    await look(rig)
    entries: Any = await rig.redis.xrange(RUNS)
    await rig.redis.xdel(RUNS, entries[1][0], entries[2][0])
    assert await look(rig) == 4
    assert await rig.rung() == runs


async def read(rig: RecordRig, most: int, *, idle_ms: int = 0) -> None:
    """A runner reads so many entries, and does nothing about them for so long."""
    bells = await doorbell.listen(rig.redis, "reader", most=most, block_ms=1)
    if bells:
        ids: Any = [bell.entry for bell in bells]
        await rig.redis.xclaim(RUNS, GROUP, "reader", 0, ids, idle=idle_ms, justid=True)


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize("is_stranded", [False, True])
async def test_an_entry_whose_reader_died_is_rung_for_anew_once(
    rig: RecordRig, is_stranded: bool
) -> None:
    run = await stranded(rig) if is_stranded else await rig.run(await rig.person())
    await rig.runner("alive")
    assert await look(rig) == 1
    await read(rig, 1)
    assert await look(rig) == 1  # somebody is about to ask
    await age(rig)
    assert await look(rig) == 2
    assert await look(rig) == 2
    assert await hear(rig) == [run]


async def age(rig: RecordRig) -> None:
    """Whoever has read something has said nothing for long."""
    found: Any = await rig.redis.xpending_range(RUNS, GROUP, "-", "+", 100)
    for one in found:
        ids = [one["message_id"]]
        await rig.redis.xclaim(RUNS, GROUP, "reader", 0, ids, idle=LONG_MS, justid=True)


@pytest.mark.usefixtures("_patient")
async def test_whatever_befell_the_entries_one_look_is_enough_and_the_next_adds_nothing(
    rig: RecordRig,
) -> None:
    await rig.runner()
    await rig.sql("UPDATE runners SET lease_until = now() + interval '1 hour'")
    ada, chance = await rig.person(), random.Random(7)
    runs = [await rig.run(ada) for _ in range(6)]
    for _ in range(60):
        await rig.redis.delete(RUNS)
        await doorbell.ensure_group(rig.redis)
        told = chance.choices(runs, k=chance.randrange(10))
        await doorbell.ring(rig.redis, [Ring(run, UUID(int=1)) for run in told])
        gone, asking = chance.randrange(1, 4), chance.randrange(1, 4)
        await read(rig, gone, idle_ms=LONG_MS)
        await read(rig, asking)
        gone = min(gone, len(told))
        alive = {*told[gone:]}
        before, once, twice = len(told), await look(rig), await look(rig)
        assert once - gone >= len(runs)
        assert once - before <= len(set(runs) - alive)
        assert twice == once


async def test_a_fresh_run_is_left_to_its_own_entry(rig: RecordRig) -> None:
    await rig.runner()
    await rig.run(await rig.person(), age_s=0)
    assert await look(rig) == 0


async def test_a_run_behind_another_of_its_thread_is_not_rung_for(rig: RecordRig) -> None:
    await rig.runner()
    await rig.run(await rig.person(), ready=False)
    assert await look(rig) == 0


async def test_a_cancelled_queued_run_is_rung_for_as_every_other(rig: RecordRig) -> None:
    await rig.runner()
    run = await rig.run(await rig.person())
    await rig.cancel(run)
    await look(rig)
    assert await rig.rung() == {run}


async def test_nobody_is_rung_for_while_no_runner_serves_the_agent(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    assert await look(rig) == 0
    await rig.runner("stranger", {"Other": {}})
    assert await look(rig) == 0
    dead = await rig.runner("dead")
    await dead.lose_lease()
    assert await look(rig) == 0
    await dead.beat()
    assert await look(rig) == 1
    assert await rig.rung() == {run}


# ------------------------------------------------------------------------------ the stranded
async def stranded(rig: RecordRig) -> UUID:
    run = await rig.run(await rig.person())
    dead = await rig.runner("dead")
    await dead.claim()
    await dead.lose_lease()
    return run


async def test_a_stranded_run_is_rung_for_once(rig: RecordRig) -> None:
    run = await stranded(rig)
    await rig.runner("alive")
    assert await look(rig) == 1
    assert await look(rig) == 1
    assert await hear(rig) == [run]
    assert await look(rig) == 1  # the one who heard it may have died


async def test_a_run_that_is_carried_is_not_rung_for(rig: RecordRig) -> None:
    await rig.run(await rig.person())
    await (await rig.runner()).claim()
    assert await look(rig) == 0


async def test_a_run_set_free_is_stranded(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    runner = await rig.runner()
    await runner.claim()
    await rig.sql("UPDATE runs SET claimed_at = now() - interval '1 hour'")
    await runner.beat()
    await look(rig)
    assert await rig.rung() == {run}


async def test_who_may_not_judge_does_not_ring_for_the_stranded(rig: RecordRig) -> None:
    await stranded(rig)
    await rig.runner("alive")
    rig.judge.told = False
    assert await look(rig) == 0


async def test_a_stranded_run_waits_for_a_runner_that_serves_its_agent(rig: RecordRig) -> None:
    run = await stranded(rig)
    await rig.runner("stranger", {"Other": {}})
    assert await look(rig) == 0
    await rig.cancel(run)  # to end it, any runner will do
    assert await look(rig) == 1


async def test_a_look_keeps_no_run_from_whoever_claims_it_just_then(rig: RecordRig) -> None:
    run = await stranded(rig)
    alive = await rig.runner("alive")
    async with rig.services.engine.begin() as db:
        assert (await db.execute(rering._STRANDED, {"most": 9})).all()
        claimed = await alive.claim(hint=run)
    assert claimed
    assert claimed.run == run


async def test_a_redis_that_stands_still_holds_up_no_look(
    rig: RecordRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stranded(rig)
    await rig.runner("alive")
    rig.judge.lease_s = 0.04
    still = asyncio.Event()

    async def never(*_: object) -> None:
        still.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(rering, "ensure_group", never)
    await _look(rig.services)  # it comes to its end
    assert still.is_set()
    monkeypatch.undo()
    rig.judge.lease_s = 4.0
    assert await look(rig) == 1


# ------------------------------------------------------------------------------ the loop
async def test_the_next_look_comes_when_a_lease_ends(rig: RecordRig) -> None:
    assert await _look(rig.services) is None
    dying = await rig.runner("dying")
    await dying.beat()
    await rig.sql("UPDATE runners SET lease_until = now() + interval '200 ms'")
    left_s = await _look(rig.services)
    assert left_s
    assert left_s <= 0.2
    assert left_s < rering._pause_s(left_s) < rering.EVERY_S
    assert rering._pause_s(4.0) == rering._pause_s(None) == rering.EVERY_S


async def test_the_loop_rings_in_a_real_process_whatever_befell_it(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[Exception] = []

    async def watched(services: Services) -> float | None:
        try:
            return await _look(services)
        except Exception as error:
            failed.append(error)
            raise

    monkeypatch.setattr(rering, "EVERY_S", 0.02)
    monkeypatch.setattr(rering, "_look", watched)
    settings = ToolsvcSettings.model_validate(
        {
            "database_url": database_url,
            "redis_url": redis_url,
            "run_token_key": TOKEN_KEY,
            "runner_key": RUNNER_KEY,
            "gateway_key": GATEWAY_KEY,
            "lease_s": 2,
        }
    )
    async with opened(database_url, redis_url) as rig:
        run = await stranded(rig)
        insert = (
            "INSERT INTO runners (id, lease_until, version, slots, agents) "
            "VALUES (:id, now() + interval '1 hour', '', 1, CAST(:agents AS json))"
        )
        await rig.sql(insert, id="broken", agents='{"no jsonb": "\\u0000"}')
        outer = make_app(settings)
        assert isinstance(outer, Outermost)
        assert isinstance(outer.app, Record)
        app: Any = outer.app.app
        async with app.router.lifespan_context(app):

            async def has_failed() -> bool:
                return bool(failed)

            await until(has_failed)
            await rig.sql("DELETE FROM runners WHERE id = 'broken'")
            await rig.sql(insert, id="alive", agents='{"Assistant": {}}')

            async def rung() -> bool:
                return await rig.rung() == {run}

            await until(rung)
