"""Every await of toolsvc on a run's way: it is killed before and after each, and goes on anew."""

import asyncio
from collections.abc import AsyncIterator
from itertools import chain

import pytest
import pytest_asyncio

from stack.test_stores import TestStores
from tests.faults.nursery import MODULES
from tests.faults.points import differences, sides
from tests.faults.scene import Scene, scene
from tests.faults.walk_toolsvc import reach_carrying, reach_closing, walk_carrying, walk_closing

pytestmark = [
    pytest.mark.stores,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]

#: So many instances, each with a runner and clients of its own, die side by side.
SHARDS = 3

#: So many instances close a run each at the same time; Postgres has connections for no more.
CLOSERS = 10

TOOLSVC = tuple(one for one in MODULES if one.startswith(("toolsvc", "shared")))

#: Awaits that no story comes to, each with its reason.
LEFT_OUT = {
    "called by runners or gateways, and not by toolsvc": (
        "shared.bus.append:discard redis.delete",
        "shared.bus.doorbell:listen redis.xreadgroup",
        "shared.bus.doorbell:listen ensure_group",
        "shared.bus.doorbell:rescue redis.xautoclaim",
        "shared.bus.doorbell:answered pipe.execute",
        "shared.bus.doorbell:remove_consumer redis.xpending_range",
        "shared.bus.doorbell:remove_consumer redis.xgroup_delconsumer",
        "shared.bus.doorbell:forget_idle_consumers redis.xinfo_consumers",
        "shared.bus.doorbell:forget_idle_consumers redis.xgroup_delconsumer",
        "shared.bus.events:read_after _page",
        "shared.bus.events:last_of pipe.execute",
        "shared.bus.doorbell:has_group redis.xinfo_groups",
    ),
    "poison is closed as cancelled runs are, and tests/faults/test_poison.py kills around it": (
        "toolsvc.runs.api:claims claim_alone",
        "toolsvc.runs.api:death body_of",
        "toolsvc.runs.api:death _ring",
        "toolsvc.runs.api:death transaction enter",
        "toolsvc.runs.api:death transaction exit",
        "toolsvc.runs.api:death deaths.report",
        "toolsvc.runs.claim:claim_alone _take",
        "toolsvc.runs.claim:claim_alone db.one",
        "toolsvc.runs.claim:claim_poisoned _take",
        "toolsvc.runs.claim:claim_poisoned db.one",
        "toolsvc.runs.close:close_poisoned _end",
        "toolsvc.runs.close:close_poisoned _own_lease enter",
        "toolsvc.runs.close:close_poisoned _own_lease exit",
        "toolsvc.runs.close:close_poisoned claim_poisoned",
        "toolsvc.runs.close:close_poisoned services.direct.transaction enter",
        "toolsvc.runs.close:close_poisoned services.direct.transaction exit",
        "toolsvc.runs.rering:_close close_poisoned",
        "toolsvc.runs.rering:_look _close",
    ),
    "only where somebody has altered a conversation by hand": (
        "toolsvc.runs.api:claims close_senseless",
        "toolsvc.runs.close:close_senseless _end",
    ),
    "only where others wrote the key of the doorbell by hand": (
        "shared.bus.doorbell:ensure_group redis.delete",
        "shared.bus.doorbell:ensure_group redis.xgroup_create#2",
    ),
    "nothing is stored: the transaction is given up, as by a death": (
        "shared.db.direct:Transaction.roll_back _line.run",
        "shared.db.direct:transaction made.roll_back",
        "shared.db.direct:Transaction.commit _send#2",
    ),
    "before a runner's first claim, and after its last": (
        "toolsvc.runs.api:catalogue body_of",
        "toolsvc.runs.api:catalogue transaction enter",
        "toolsvc.runs.api:catalogue transaction exit",
        "toolsvc.runs.api:catalogue lease.announce",
        "toolsvc.runs.api:catalogue lease.code_in_use",
        "toolsvc.runs.api:leave transaction enter",
        "toolsvc.runs.api:leave transaction exit",
        "toolsvc.runs.api:leave lease.release",
        "toolsvc.runs.lease:announce db.execute",
        "toolsvc.runs.lease:code_in_use db.execute",
        "toolsvc.runs.lease:release db.execute",
    ),
    "a closed run with another one waiting behind it: the loop that rings again finds it": (
        "toolsvc.runs.close:_tell ring",
    ),
    "only for results over 256 KiB, which tests/faults/test_effects.py kills toolsvc in": (
        "toolsvc.effects:settle keep",
        "toolsvc.files:keep connection.execute",
    ),
    "files of an agent's own code: one transaction, and whoever repeats it finds the same file": (
        "toolsvc.files:keep_own connection.execute",
        "toolsvc.files:keep_own keep",
        "toolsvc.tool_api:put_file request.body",
        "toolsvc.tool_api:put_file services.engine.begin enter",
        "toolsvc.tool_api:put_file services.engine.begin exit",
        "toolsvc.tool_api:put_file keep_own",
    ),
    "reads alone": (
        "toolsvc.files:read connection.execute",
        "toolsvc.tool_api:get_file services.engine.connect enter",
        "toolsvc.tool_api:get_file services.engine.connect exit",
        "toolsvc.tool_api:get_file read",
    ),
    "inside the transaction of a run's end, before and behind which there are points": (
        "toolsvc.runs.commit:_finish withdraw",
    ),
    "only where a tool fails, whose effect is undone by then": (
        "toolsvc.execution:_Attempt._in_one_transaction _record",
        "toolsvc.execution:_Attempt._record executor.engine.begin enter",
        "toolsvc.execution:_Attempt._record executor.engine.begin exit",
        "toolsvc.execution:_Attempt._record claim",
        "toolsvc.execution:_Attempt._record settle",
    ),
}

#: Points that a story comes to or not, as the timing will have it.
BY_CHANCE = frozenset(
    sides(
        "shared.bus.append:append_all redis.script_load",
        "shared.bus.append:append_all _pipeline#2",
        "shared.db.direct:Direct.line _place",
        "shared.db.direct:Direct._place asyncio.timeout enter",
        "shared.db.direct:Direct._place asyncio.timeout exit",
        "shared.db.direct:Direct._place _places.acquire",
        "toolsvc.execution:_patience asyncio.sleep",
        "toolsvc.runs.api:fence services.engine.connect enter",
        "toolsvc.runs.api:fence services.engine.connect exit",
        "toolsvc.runs.api:fence lease.confirm",
        "toolsvc.runs.claim:claim_next db.one#2",
        "toolsvc.runs.close:_own_lease.keep asyncio.sleep",
        "toolsvc.runs.close:_own_lease.keep renew",
        "toolsvc.runs.close:_own_lease.keep services.engine.begin enter",
        "toolsvc.runs.close:_own_lease.keep services.engine.begin exit",
        "toolsvc.runs.lease:confirm db.execute",
        "toolsvc.runs.rering:_look db.execute#2",
        "toolsvc.runs.rering:_ring_unheard lost",
        "toolsvc.runs.rering:_ring_unheard services.redis.xlen",
        "toolsvc.runs.rering:_ring_unheard ensure_group",
        "toolsvc.runs.rering:_ring_unheard services.redis.publish",
        "toolsvc.runs.rering:_ring_unheard waiting",
        "toolsvc.runs.rering:_ring_unheard ring",
        "shared.bus.doorbell:ensure_group redis.xgroup_create",
        "shared.bus.doorbell:bells redis.xrange",
        "shared.bus.doorbell:lost redis.xpending_range",
        "shared.bus.doorbell:waiting bells",
    )
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def walked(
    stores: TestStores, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    async with scene(stores, tmp_path_factory.mktemp("points")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def carrying(walked: Scene) -> set[str]:
    """The points that toolsvc comes to as runs go on through it."""
    return await reach_carrying(walked, walked.folder / "carrying") - BY_CHANCE


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closing(walked: Scene) -> set[str]:
    """The points that it comes to only as it closes a run."""
    found = await reach_closing(walked, walked.folder / "closing")
    return found - BY_CHANCE


async def test_every_point_is_reached_but_those_left_out(
    carrying: set[str], closing: set[str]
) -> None:
    found = carrying | closing | BY_CHANCE
    assert not (wrong := differences(TOOLSVC, found, sides(*chain(*LEFT_OUT.values())))), wrong


async def test_toolsvc_may_be_killed_at_every_point(
    walked: Scene, carrying: set[str], closing: set[str]
) -> None:
    points = sorted(carrying)
    await asyncio.gather(*(walk_carrying(walked, points[n::SHARDS]) for n in range(SHARDS)))
    left = sorted(closing - carrying)
    for first in range(0, len(left), CLOSERS):
        await walk_closing(walked, left[first : first + CLOSERS])
    found = await walked.verdict()
    assert not found, "\n".join(map(str, found))
