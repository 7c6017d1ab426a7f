"""Every await between a run's claim and its end: a runner is killed before and after each."""

from collections.abc import AsyncIterator
from itertools import chain

import pytest
import pytest_asyncio

from stack.test_stores import TestStores
from tests.faults.nursery import MODULES
from tests.faults.points import differences, points_of, sides
from tests.faults.scene import Scene, scene
from tests.faults.walk import STORIES, reach, walk

pytestmark = [
    pytest.mark.stores,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]

#: So many runners at once; a fork takes some 60 MB.
BATCH = 48

RUNNERS = tuple(one for one in MODULES if not one.startswith(("toolsvc", "shared.db")))

#: Awaits that no story comes to, each with its reason.
LEFT_OUT = {
    "hints are beside the path: the heartbeat brings the same news": (
        "runner.hints:listen_for_hints redis.pubsub enter",
        "runner.hints:listen_for_hints channel.subscribe before",
        "runner.hints:listen_for_hints asyncio.sleep",
    ),
    "files are read before a model is called, and read again by whoever takes over": (
        "runner.models.live_call:LiveCall._read_files with_files",
        "runner.record:Record.file _until_answered",
    ),
    "before a call that a client limits: what its server speaks is asked of it, and nothing done": (
        "runner.models.limits:within speaks_chat",
        "runner.models.live_call:LiveCall._within_limits within",
    ),
    "files of an agent's own code, of which toolsvc keeps one however often it is asked": (
        "baton.files:put_file _drawer().put",
        "baton.files:read_file _drawer().read",
        "runner.drawer:_put run.home.run",
        "runner.drawer:_read run.home.run",
        "runner.record:Record.put_file _until_answered",
    ),
    "only where Redis has lost a stream, or holds what others wrote: nothing is done but asking": (
        "runner.carrying:Carrying._confirm _record.confirm",
        "runner.carrying:Carrying._confirm discard",
        "runner.run:Driver._append_starts run.record.confirm",
        "runner.run:Driver._append_starts discard",
        "runner.run:Driver._append_starts append#2",
        "runner.run:Driver._fence_redis discard",
        "shared.bus.doorbell:ensure_group redis.delete",
        "shared.bus.doorbell:ensure_group redis.xgroup_create#2",
        "runner.publisher:Publisher._ask _confirm",
        "runner.record:Record.confirm _until_answered",
        "shared.bus.append:discard redis.delete",
    ),
    "only where toolsvc refuses the end of a run: it ends as failed then": (
        "runner.run:Driver.carry _give_up",
        "runner.run:Driver.carry _give_up#2",
        "runner.run:Driver._give_up run.committer.give_up",
        "runner.run:Driver._give_up _publish_the_end",
        "runner.committer:Committer.give_up _working",
        "runner.committer:Committer.give_up _send",
        "runner.committer:Committer.give_up _send#2",
    ),
    "only where a run began with other code than what is served: nothing is done but importing": (
        "runner.carrying:Carrying._code_of asyncio.to_thread",
    ),
    "agents that their own code makes or runs: tests/runner/replay/test_authors_code.py": (
        "runner.agent_loop:AgentLoop._run_agent made_by",
        "runner.agent_loop:AgentLoop._run_agent answered_by",
        "runner.agent_loop:AgentLoop._run_agent _input",
        "runner.agent_loop:AgentLoop._run_agent context_made_by",
    ),
    "the run has been stopped, and waits here for nothing": (
        "runner.agent_loop:AgentLoop._call_tool run.park",
        "runner.carried:CarriedRun._step park",
        "runner.carried:CarriedRun._step park#3",
        "runner.carried:CarriedRun._step park#4",
        "runner.carried:CarriedRun._replayed park",
        "runner.carried:CarriedRun.waiting park",
    ),
    "agent code waits here for a person, and nothing comes after it: the run ends beside it": (
        "runner.invocations:patch_runner.journaled_run carried.parking.ask",
        "runner.invocations:_park_at_the_end.events carried.parking.ask",
        "runner.parking:Parking.ask asyncio.get_running_loop().create_future",
    ),
    "streams that agent code reads itself: tests/runner/replay/test_approvals.py": (
        "runner.invocations:_park_at_the_end.events aclosing enter",
        "runner.invocations:_park_at_the_end.events aclosing exit",
        "runner.invocations:_park_at_the_end.events inner",
    ),
    "after 20 s of giving runs away": ("runner.worker:Worker.drain asyncio.wait#2",),
    "before the first claim": (
        "runner.record:Record.announce _until_answered",
        "runner.record:Record.tools _until_answered",
        "shared.bus.doorbell:ensure_group redis.xgroup_create",
        "shared.bus.doorbell:listen ensure_group",
    ),
    "a suspect run, carried alone: tests/faults/test_poison.py": (
        "runner.record:Record.report_death _until_answered",
        "runner.worker:Worker.carry_alone _record.claim",
        "runner.worker:Worker.carry_alone asyncio.sleep",
        "runner.worker:Worker.carry_alone asyncio.wait",
    ),
    "after 25 turns of a run, and only for a cache": (
        "runner.agent_loop:AgentLoop.drive _attempt#2",
        "runner.models.live_call:LiveCall.live snapshot",
    ),
    "no run is there": (
        "runner.wrap:_Journaling.invoke _plain",
        "runner.turns:Predicate.__call__ _ask",
        "runner.verdicts:_of_agent.journaled run",
        "runner.verdicts:_of_tool.journaled run",
    ),
    "what a tool raises is another step like any: tests/runner/replay/test_raised.py": (
        "runner.calls:_raising_again run.step",
        "runner.calls:_raising_again run.step#2",
    ),
    "tools that are no functions: tests/runner/replay/test_tool_kinds.py and test_hosted.py": (
        "runner.natives:_journaled.journaled.carry_out execute",
        "runner.natives:_journaled.journaled carry_out",
        "runner.natives:_journaled.journaled _recorded",
        "runner.natives:_recorded.live carry_out",
        "runner.natives:_recorded.live run.sessions.write",
        "runner.natives:_recorded.live show",
        "runner.natives:_recorded recorded_call",
        "runner.natives:_Approver.__call__ _ask",
        "runner.natives:_Approver.__call__.live _ask",
        "runner.natives:_Approver.__call__ run.step",
        "runner.natives:_Approver._ask answer",
    ),
    "a model that an author brings along, which is called without a gate": (
        "runner.models.live_call:LiveCall.live _once",
    ),
    "called by authors' code only, and by no step": (
        "runner.sessions:Kept.write inner.clear_session",
        "runner.sessions:Kept.write inner.add_items#2",
        "runner.sessions:JournaledSession.pop_item _kept.read",
        "runner.sessions:JournaledSession.clear_session _kept.read",
        "runner.models.journaled:JournaledModel.close inner.close",
    ),
    "called by toolsvc or the gateway, and by no runner": (
        "shared.bus.doorbell:ring pipe.execute",
        "shared.bus.doorbell:bells redis.xrange",
        "shared.bus.doorbell:lost redis.xpending_range",
        "shared.bus.doorbell:has_group redis.xinfo_groups",
        "shared.bus.doorbell:waiting bells",
        "shared.bus.events:last_of pipe.execute",
        "shared.bus.events:read_after _page",
    ),
}


#: Points that a story comes to or not, as the timing will have it.
BY_CHANCE = frozenset(
    sides(
        "runner.committer:Committer.finish _working",
        "runner.committer:Committer.leave _working",
        "runner.hints:listen_for_hints channel.listen",
        "runner.intake:Intake.until_free _given_back.wait",
        "runner.hints:listen_for_hints channel.subscribe after",
        "runner.models.gate:Gate.enter asyncio.wait",
        "runner.worker:Worker.rescue doorbell.rescue",
        "runner.worker:Worker.rescue doorbell.forget_idle_consumers",
        "shared.bus.doorbell:forget_idle_consumers redis.xinfo_consumers",
        "shared.bus.append:append_all redis.script_load",
        "shared.bus.append:append_all _pipeline#2",
        "shared.bus.doorbell:forget_idle_consumers redis.xgroup_delconsumer",
        "shared.bus.doorbell:rescue redis.xautoclaim",
    )
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def walked(
    stores: TestStores, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("points")
    async with scene(stores, folder) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reached(walked: Scene) -> dict[str, set[str]]:
    """By story: the points that a runner comes to."""
    return {
        one.name: await reach(walked, one, walked.folder / f"reach-{one.name}") for one in STORIES
    }


async def test_the_stories_reach_every_point_but_those_left_out(
    reached: dict[str, set[str]],
) -> None:
    found = set().union(*reached.values()) | BY_CHANCE
    assert not (wrong := differences(RUNNERS, found, sides(*chain(*LEFT_OUT.values())))), wrong


async def test_a_runner_may_be_killed_at_every_point(
    walked: Scene, reached: dict[str, set[str]]
) -> None:
    left = [point for point in points_of(RUNNERS) if point not in BY_CHANCE]
    for story in STORIES:
        points = [point for point in left if point in reached[story.name]]
        left = [point for point in left if point not in points]
        for first in range(0, len(points), BATCH):
            missed = await walk(walked, story, points[first : first + BATCH])
            # Where a machine is slow, a victim may have got another one's run, at its very end.
            assert not missed or not await walk(walked, story, missed)
    found = await walked.verdict()
    assert not found, "\n".join(f"{one} {walked.met_by(one.where)}" for one in found)
