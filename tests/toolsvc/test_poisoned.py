"""Runs that have killed all their carriers are closed, by one instance and whoever lives."""

import asyncio
from dataclasses import replace
from uuid import UUID

import orjson
import pytest

from shared.bus import doorbell
from tests.toolsvc.record_rig import RecordRig, event
from tests.toolsvc.suspects import asked_for, carried_alone, dies_with, report, suspect
from toolsvc.runs.rering import _look

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


async def killed(rig: RecordRig, run: UUID) -> None:
    """The process dies twice, once with a report and once without."""
    await carried_alone(rig, run, "lone-1")
    await report(rig, run, "lone-1")
    process, claimed = await carried_alone(rig, run, "lone-2")
    chunk = event("TEXT_MESSAGE_CHUNK", 2, messageId="m", role="assistant", delta="so far")
    await rig.committed(claimed, 1, tail=[], rows=[[2, 2, "TEXT_MESSAGE_CHUNK", chunk]])
    await process.lose_lease()


async def test_dead_twice_alone_it_is_closed_and_its_thread_goes_on(rig: RecordRig) -> None:
    ada = await rig.person()
    thread = await rig.thread(ada)
    run, following = await rig.run(ada, thread), await rig.run(ada, thread, ready=False)
    await dies_with(rig, run, "first")
    await dies_with(rig, run, "second")
    await killed(rig, run)
    bells = await doorbell.listen(rig.redis, "reader", most=9, block_ms=1)
    await doorbell.answered(rig.redis, bells)
    instances = [replace(rig.services, instance=f"toolsvc-{n}") for n in range(5)]
    await asyncio.gather(*(_look(instance) for instance in instances))

    found = await rig.run_row(run)
    assert (found.status, found.error_code, found.deaths) == ("failed", "poisoned", 4)
    assert "operator" in found.error_message
    last = (await rig.events(thread))[-1]
    told = orjson.loads(last.data)
    assert (told["type"], told["code"], last.fence) == ("RUN_ERROR", "poisoned", 5)
    assert (await rig.streamed(thread))[-1].at == (5, last.seq)
    kept = await rig.sql("SELECT content FROM messages WHERE role = 'assistant'")
    assert [one.content["content"] for one in kept] == ["so far"]
    assert await rig.chain_holds(thread)
    assert (await rig.run_row(following)).ready
    assert await rig.rung() == {following}


@pytest.mark.parametrize("queued", [False, True])
async def test_dead_twice_before_any_claim_it_is_closed_too(rig: RecordRig, queued: bool) -> None:
    """What kills it is not the run's own doing, and yet nobody can carry it."""
    ada = await rig.person()
    thread = await rig.thread(ada)
    run, following = await rig.run(ada, thread), await rig.run(ada, thread, ready=False)
    if queued:  # one that is tried again
        await rig.sql("UPDATE runs SET deaths = 2 WHERE id = :run", run=run)
    else:
        await dies_with(rig, run, "first")
        await dies_with(rig, run, "second")
    for lone in ("lone-1", "lone-2"):
        await asked_for(rig, run, lone)
        await report(rig, run, lone)
    assert (await (await rig.runner("parent")).asked(run, lone="lone-3")).suspect is None
    await _look(rig.services)
    found = await rig.run_row(run)
    assert (found.status, found.error_code, found.deaths) == ("failed", "poisoned", 4)
    assert found.last_words["process"] == "lone-2"
    kinds = [kind for _, _, _, kind in await rig.positions(thread)]
    assert (kinds[0], kinds[-1]) == ("RUN_STARTED", "RUN_ERROR")
    assert kinds.count("RUN_STARTED") == 1
    assert [one.type for one in await rig.streamed(thread)][-1] == "RUN_ERROR"
    assert await rig.chain_holds(thread)
    assert (await rig.run_row(following)).ready


async def test_cancelled_meanwhile_it_ends_as_that(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    await rig.sql("UPDATE runs SET deaths = 4")
    await rig.cancel(run)
    await _look(rig.services)
    claimed = await (await rig.runner()).claim(run)
    assert claimed.cancelled


@pytest.mark.parametrize("lives", [False, True])
async def test_a_closer_that_fails_half_way_leaves_it_to_the_next(
    rig: RecordRig, lives: bool
) -> None:
    """Also where it lives on, and so has it again after a lease's life."""
    closer = rig.services if lives else replace(rig.services, instance="toolsvc-dead")
    run = await suspect(rig)
    await killed(rig, run)
    await rig.sql("UPDATE runs SET deaths = 4, runner_id = NULL")
    thread = (await rig.run_row(run)).thread_id
    await rig.redis.set(f"thread:{{{thread}}}:events", "not a stream")
    await _look(closer)
    assert await rig.status(run) == "running"
    await rig.redis.delete(f"thread:{{{thread}}}:events")
    if lives:
        await rig.sql("UPDATE runs SET claimed_at = claimed_at - interval '1 minute'")
    else:
        await rig.sql("UPDATE runners SET lease_until = now() - interval '1 s'")
    await _look(rig.services)
    assert (await rig.run_row(run)).error_code == "poisoned"


async def test_no_runner_has_to_live_for_it_to_be_closed(rig: RecordRig) -> None:
    run = await suspect(rig)
    await killed(rig, run)
    await rig.sql("UPDATE runners SET lease_until = now() - interval '1 s'")
    rig.judge.told = False
    await _look(rig.services)
    assert await rig.status(run) == "running"
    rig.judge.told = True
    await _look(rig.services)
    assert await rig.status(run) == "failed"
