"""Stopping runs, on real stores."""

from typing import Any

import pytest

from gateway.accept import accept_run
from gateway.stopping import request_cancel
from shared.bus.keys import user_channel
from shared.errors import BatonError
from shared.protocol.codes import Code
from tests.gateway.rig import Rig, heard, run_input

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

RUN: dict[str, Any] = {"thread_id": "thr_1", "agent": "Assistant", "input": run_input()}


async def test_a_queued_run_is_marked_and_the_person_told(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    await accept_run(rig.services, ada, **RUN)
    async with rig.services.redis.pubsub() as channel:
        await channel.subscribe(user_channel(ada.user_id))
        found = await request_cancel(rig.services, ada, thread_id="thr_1", run_id="run_1")
        assert found.status == "queued"
        assert await heard(channel, "queue") == {"what": "queue", "threadId": "thr_1"}
    assert await rig.value("SELECT cancel_requested_at IS NOT NULL FROM runs")


async def test_stopping_twice_or_too_late_says_where_the_run_stands(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    await accept_run(rig.services, ada, **RUN)
    await request_cancel(rig.services, ada, thread_id=None, run_id="run_1")
    before = await rig.value("SELECT cancel_requested_at FROM runs")
    await request_cancel(rig.services, ada, thread_id=None, run_id="run_1")
    assert await rig.value("SELECT cancel_requested_at FROM runs") == before
    await rig.finish("run_1", "cancelled")
    late = await request_cancel(rig.services, ada, thread_id=None, run_id="run_1")
    assert late.status == "cancelled"


async def test_only_ones_own_runs_can_be_stopped(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada, bob = await rig.caller("ada@example.com"), await rig.caller("bob@example.com")
    await accept_run(rig.services, ada, **RUN)
    for caller, thread, run in ((bob, None, "run_1"), (ada, "thr_2", "run_1"), (ada, None, "x")):
        with pytest.raises(BatonError) as caught:
            await request_cancel(rig.services, caller, thread_id=thread, run_id=run)
        assert caught.value.code is Code.NOT_FOUND
    assert await rig.value("SELECT cancel_requested_at IS NULL FROM runs")
