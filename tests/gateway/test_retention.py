"""What clients meet where retention has deleted events or spans: words, and never a silent hole."""

import httpx
import pytest

from tests.gateway.api.test_events import ids, thread_with_events
from tests.gateway.relay.rig import Sink, running_relay
from tests.gateway.rig import Rig, code_of, wait_until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

#: What retention leaves of a thread whose fence 1 was of an ended run.
DELETE = "DELETE FROM events WHERE fence = 1"
KEEP = "INSERT INTO heads (thread_id, fence, seq, hash, rows) SELECT id, 1, 7, '', 3 FROM threads"


async def delete_first_run(rig: Rig, ada: httpx.AsyncClient) -> None:
    await thread_with_events(rig, ada)
    await rig.sql("UPDATE runs SET first_fence = CASE public_id WHEN 'run_1' THEN 1 ELSE 2 END")
    await rig.sql(DELETE)
    await rig.sql(KEEP)


async def test_a_thread_is_read_from_the_oldest_kept_event(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await delete_first_run(rig, ada)
    assert await ids(ada, "/api/threads/thr_1/events") == ["2-1", "2-2"]
    assert await ids(ada, "/api/threads/thr_1/events", after="1-7") == ["2-1", "2-2"]
    for cursor in ("1-1", "1-6"):
        answer = await ada.get("/api/threads/thr_1/events", params={"after": cursor})
        assert (answer.status_code, code_of(answer)) == (400, "bad_cursor")
        assert "were deleted" in answer.text


async def test_events_and_export_of_a_run_are_gone_its_neighbours_are_not(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await delete_first_run(rig, ada)
    await rig.sql("UPDATE runs SET receipt = '{}' WHERE public_id = 'run_1'")
    for what in ("events", "export"):
        answer = await ada.get(f"/api/runs/run_1/{what}")
        assert (answer.status_code, code_of(answer)) == (410, "gone")
    assert (await ada.get("/api/runs/run_1/receipt")).json() == {}
    assert (await ada.get("/api/runs/run_1")).status_code == 200
    assert await ids(ada, "/api/runs/run_2/events") == ["2-1", "2-2"]


async def test_a_run_that_waits_has_no_events_and_they_are_not_gone(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await delete_first_run(rig, ada)
    await rig.sql("UPDATE runs SET first_fence = NULL, status = 'queued' WHERE public_id = 'run_2'")
    await rig.sql("DELETE FROM events")
    assert await ids(ada, "/api/runs/run_2/events") == []


async def test_a_trace_says_that_its_spans_were_deleted(rig: Rig, ada: httpx.AsyncClient) -> None:
    await thread_with_events(rig, ada)
    assert (await ada.get("/api/runs/run_1/trace")).json()["deleted"] is False
    await rig.sql("UPDATE runs SET forgotten = '{steps,spans}' WHERE public_id = 'run_1'")
    trace = (await ada.get("/api/runs/run_1/trace")).json()
    assert (trace["deleted"], trace["spans"]) == (True, [])


async def test_a_listener_that_has_fallen_behind_what_is_kept_begins_anew(
    redis_url: str, database_url: str
) -> None:
    async with running_relay(redis_url, database_url) as rig:
        thread = await rig.thread()
        await thread.begin()
        await thread.say(6)
        await thread.store(2, 7)
        async with rig.relay._db.engine.begin() as db:
            await db.exec_driver_sql(DELETE)
            await db.exec_driver_sql(KEEP)
        sink = Sink()
        listener = await rig.listen(thread, sink, live=False)
        await wait_until(lambda: sink.restarts == [listener])
        assert sink.frames == []
