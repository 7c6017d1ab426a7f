"""A run goes to a runner that has the code it began with, as long as one lives."""

from typing import Any
from uuid import UUID

import pytest

from gateway.store import resumes
from shared.bus.keys import RUNS, runner_key
from tests.toolsvc.record_rig import RecordRig, RunnerDouble
from toolsvc.runs.lease import code_in_use
from toolsvc.runs.rering import _look

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

OLD, NEW = {"Assistant": {"digest": "old"}}, {"Assistant": {"digest": "new"}}


async def serving(rig: RecordRig, name: str, agents: Any, **more: Any) -> RunnerDouble:
    runner = await rig.runner(name, agents)
    assert (await runner.announce(agents, **more)).status_code == 200
    return runner


async def stranded(rig: RecordRig) -> UUID:
    """A run that began with the old code, and whose runner is dead."""
    run = await rig.run(await rig.person())
    dead = await rig.runner("dead", OLD)
    await dead.claim()
    await dead.lose_lease()
    return run


async def requeued(rig: RecordRig) -> UUID:
    """A run that tries one again which was poisonous with the old code."""
    run = await stranded(rig)
    poisoned = "UPDATE runs SET status = 'failed', error_code = 'poisoned', ended_at = now()"
    await rig.sql(f"{poisoned} WHERE id = :run", run=run)
    async with rig.services.direct.transaction() as db:
        made = await resumes.resume(db, await resumes.lock(db, run), newest_code=True)
        await db.commit()
    await rig.sql("UPDATE runs SET created_at = now() - interval '1 min' WHERE id = :r", r=made.key)
    return made.key


async def test_it_goes_to_who_has_its_code(rig: RecordRig) -> None:
    run = await stranded(rig)
    newer, keeper = await rig.runner("newer", NEW), await serving(rig, "k", NEW, former=["old"])
    assert await newer.ask(run) is None
    assert (await keeper.claim(run)).agent_digest == "old"


async def test_where_nobody_has_it_any_runner_replays_it(rig: RecordRig) -> None:
    run = await stranded(rig)
    keeper = await serving(rig, "k", NEW, former=["old"])
    await keeper.lose_lease()
    assert (await (await rig.runner("newer", NEW)).claim(run)).run == run


async def test_a_runner_of_its_own_that_carries_one_run_is_not_waited_for(rig: RecordRig) -> None:
    run = await stranded(rig)
    await rig.runner("lone-1", OLD)
    assert (await (await rig.runner("newer", NEW)).claim(run)).run == run


async def test_where_it_shall_wait_it_waits(rig: RecordRig) -> None:
    run = await stranded(rig)
    waiting = await serving(rig, "w", NEW, same_code=True)
    assert await waiting.ask(run) is None
    await _look(rig.services)
    assert await rig.redis.xlen(RUNS) == 0  # nobody could answer
    keeper = await serving(rig, "k", OLD, same_code=True)
    assert (await keeper.claim(run)).run == run


async def test_a_new_run_and_a_cancelled_one_go_to_anybody(rig: RecordRig) -> None:
    run = await stranded(rig)
    await serving(rig, "k", NEW, former=["old"])
    other = await serving(rig, "w", {"Assistant": {"digest": "third"}}, same_code=True)
    fresh = await rig.run(await rig.person())
    assert (await other.claim()).run == fresh
    await rig.cancel(run)
    assert (await other.claim(run)).cancelled


async def test_who_has_its_code_is_asked_by_name(rig: RecordRig) -> None:
    run = await stranded(rig)
    await rig.runner("newer", NEW)
    await serving(rig, "k", NEW, former=["old"])
    async with rig.redis.pubsub() as ear:
        await ear.subscribe(runner_key("k"))
        await ear.get_message(timeout=30)
        await _look(rig.services)
        heard = await ear.get_message(timeout=30)
    assert heard is not None
    assert heard["data"] == f"claim {run}".encode()
    assert await rig.redis.xlen(RUNS) == 0


async def test_what_is_tried_again_goes_to_who_has_other_code(rig: RecordRig) -> None:
    run = await requeued(rig)
    older, newer = await rig.runner("older", OLD), await serving(rig, "n", NEW, former=["old"])
    assert await older.ask() is None
    async with rig.redis.pubsub() as ear:
        await ear.subscribe(runner_key("n"))
        await ear.get_message(timeout=30)
        await _look(rig.services)
        heard = await ear.get_message(timeout=30)
    assert heard is not None
    assert heard["data"] == f"claim {run}".encode()
    assert (await newer.claim()).agent_digest is None
    assert (await rig.run_row(run)).agent_digest == "new"


async def test_what_is_tried_again_is_carried_where_nobody_has_other_code(rig: RecordRig) -> None:
    run = await requeued(rig)
    older = await serving(rig, "older", OLD, same_code=True)
    await _look(rig.services)
    assert await rig.rung() == {run}
    assert (await older.claim()).run == run


async def test_where_all_have_it_the_doorbell_rings(rig: RecordRig) -> None:
    run = await stranded(rig)
    await rig.runner("a", OLD)
    await serving(rig, "b", NEW, former=["old"])
    await _look(rig.services)
    assert await rig.rung() == {run}


async def test_code_is_wanted_while_a_run_goes_on_or_may_be_resumed(rig: RecordRig) -> None:
    run = await stranded(rig)

    async def wanted() -> list[str]:
        async with rig.services.engine.connect() as db:
            return await code_in_use(db)

    assert await wanted() == ["old"]
    failed = "UPDATE runs SET status = 'failed', error_code = :code, ended_at = now() WHERE id = :r"
    await rig.sql(failed, code="tool_outcome_unknown", r=run)
    assert await wanted() == ["old"]
    await rig.sql(failed, code="agent_error", r=run)
    assert await wanted() == []
    await rig.sql("UPDATE runs SET status = 'interrupted' WHERE id = :r", r=run)
    assert await wanted() == ["old"]
    await rig.sql("UPDATE runs SET ended_at = now() - interval '91 days' WHERE id = :r", r=run)
    assert await wanted() == []
