"""Snapshots of long runs: the newest is kept until the run ends, and given to whoever goes on."""

from typing import Any

import pytest
import pytest_asyncio

from shared.protocol.record import SNAPSHOT_LIMIT, ClaimedRun
from tests.toolsvc.record_rig import RecordRig, step

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


@pytest_asyncio.fixture
async def claimed(rig: RecordRig) -> ClaimedRun:
    """A run at its first claim."""
    await rig.run(await rig.person())
    return await (await rig.runner()).claim()


async def kept(rig: RecordRig) -> list[Any]:
    return [tuple(one) for one in await rig.sql("SELECT root_id, fence, state FROM snapshots")]


async def test_the_newest_is_kept_and_comes_with_the_next_claim(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    assert claimed.snapshot is None
    await rig.committed(claimed, steps=[step("0")], snapshot="first")
    await rig.committed(claimed, 2, steps=[step("1")], snapshot="second")
    await rig.committed(claimed, 3, steps=[step("2")])
    assert await kept(rig) == [(claimed.root, claimed.fence, "second")]
    await rig.sql("UPDATE runners SET lease_until = now() - interval '1 s'")
    after = await (await rig.runner("next")).claim(claimed.run)
    assert after.snapshot == "second"
    assert len(after.journal) == 3


@pytest.mark.parametrize(
    ("outcome", "left"),
    [("finished", 0), ("failed", 0), ("cancelled", 0), ("interrupted", 1)],
)
async def test_it_goes_with_the_end_of_the_run_unless_the_run_is_to_go_on(
    rig: RecordRig, claimed: ClaimedRun, outcome: str, left: int
) -> None:
    await rig.committed(claimed, steps=[step("0")], snapshot="s")
    await rig.committed(claimed, 2, end={"outcome": outcome})
    assert len(await kept(rig)) == left


async def test_an_overtaken_runner_leaves_none(rig: RecordRig, claimed: ClaimedRun) -> None:
    await rig.sql("UPDATE runners SET lease_until = now() - interval '1 s'")
    await (await rig.runner("next")).claim(claimed.run)
    refusal = await rig.refusal(claimed, steps=[step("0")], snapshot="of a zombie")
    assert refusal == (409, "fenced")
    assert await kept(rig) == []


async def test_one_that_is_too_long_is_refused(rig: RecordRig, claimed: ClaimedRun) -> None:
    status, _ = await rig.refusal(claimed, steps=[step("0")], snapshot="x" * (SNAPSHOT_LIMIT + 1))
    assert status == 422
    await rig.committed(claimed, steps=[step("0")], snapshot="x" * SNAPSHOT_LIMIT)
