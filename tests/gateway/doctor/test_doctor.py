"""The doctor: each defect is planted by hand, found, mended where that is possible, and gone."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from gateway.doctor import examine as examination
from gateway.doctor.finding import ABOUT, Defect
from shared.bus.doorbell import ensure_group
from shared.bus.keys import events_key
from shared.chain import extend, sealed
from shared.db.conversations import SUSPECT
from shared.protocol.ids import uuid7
from shared.protocol.position import Position
from tests.gateway.rig import Rig, code_of, user_message

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

LONG_AGO = "now() - interval '1 minute'"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens between the looks but what a test does."""
    monkeypatch.setattr(examination, "BETWEEN_S", 0)


@pytest_asyncio.fixture
async def operator(rig: Rig) -> httpx.AsyncClient:
    """An admin, and a runner that serves the agent of all runs."""
    await rig.announce("Assistant", lease="1 hour")
    await ensure_group(rig.services.redis)
    return await rig.operator()


async def run(rig: Rig, ada: httpx.AsyncClient, *names: str) -> None:
    """Runs of one thread, accepted long ago; their entries are gone."""
    for name in names:
        said = {"runId": name, "messages": [user_message(f"m_{name}")]}
        body = {"agent": "Assistant", "input": said}
        answer = await ada.post("/api/threads/thr_1/runs", json=body)
        assert answer.status_code == 202
    await rig.services.background.finish()
    await rig.services.redis.xtrim("runs", maxlen=0, approximate=False)
    await rig.sql(f"UPDATE runs SET created_at = {LONG_AGO}")


async def ended(rig: Rig, ada: httpx.AsyncClient, *kinds: str) -> UUID:
    """A run of these events that has ended well, chained as toolsvc does it."""
    await run(rig, ada, "run_1")
    rows = [sealed(1, seq, seq, kind, '{"type":"X"}') for seq, kind in enumerate(kinds, 1)]
    chained = extend(None, rows)
    for row, hash_ in chained:
        await rig.sql(
            "INSERT INTO events (thread_id, fence, seq, seq_to, run_id, type, data, salt, digest, "
            "hash) SELECT thread_id, :fence, :seq, :seq_to, id, :type, :data, :salt, :digest, "
            ":hash FROM runs",
            **row._asdict(),
            hash=hash_,
        )
    await rig.sql(
        "UPDATE threads SET fence = 1, settled = 1, last_fence = 1, last_seq = :seq, "
        "chain = :chain, committed_at = now()",
        seq=len(rows),
        chain=chained[-1].hash,
    )
    await rig.sql("UPDATE runs SET first_fence = 1, fence = 1")
    await rig.finish("run_1")
    return await rig.thread("thr_1")


WHOLE = ("RUN_STARTED", "TEXT_MESSAGE_CHUNK", "CUSTOM", "RUN_FINISHED")


# ---------------------------------------------------------------------- defects, planted by hand
async def no_group(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.services.redis.delete("runs")


async def rubbish(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.services.redis.xadd("runs", {"run": "rubbish"})
    await rig.services.redis.xadd("runs", {"run": str(uuid7()), "thread": str(uuid7())})


async def not_rung(rig: Rig, ada: httpx.AsyncClient) -> None:
    await run(rig, ada, "run_1")


async def abandoned(rig: Rig, ada: httpx.AsyncClient) -> None:
    await run(rig, ada, "run_1")
    await rig.begin("run_1")
    await rig.announce("Assistant", runner="dead", lease="-1 minute")
    await rig.sql(f"UPDATE runs SET runner_id = 'dead', claimed_at = {LONG_AGO}")


async def carried_by_nobody_known(rig: Rig, ada: httpx.AsyncClient) -> None:
    await run(rig, ada, "run_1")
    await rig.begin("run_1")
    await rig.sql(f"UPDATE runs SET runner_id = 'unheard of', claimed_at = {LONG_AGO}")


async def unserved(rig: Rig, ada: httpx.AsyncClient) -> None:
    await run(rig, ada, "run_1")
    await rig.sql("UPDATE runs SET agent = 'Gone'")


async def stuck(rig: Rig, ada: httpx.AsyncClient) -> None:
    await run(rig, ada, "run_1", "run_2")
    await rig.sql("UPDATE runs SET ready = false")


async def crowded(rig: Rig, ada: httpx.AsyncClient) -> None:
    await run(rig, ada, "run_1", "run_2")
    await rig.begin("run_1")
    await rig.sql("UPDATE runs SET ready = true, runner_id = 'runner_1'")
    await rig.services.redis.xadd("runs", {"run": str(await key(rig, "run_2"))})


async def not_cancelled(rig: Rig, ada: httpx.AsyncClient) -> None:
    await run(rig, ada, "run_1")
    await rig.begin("run_1")
    await rig.sql(f"UPDATE runs SET runner_id = 'runner_1', cancel_requested_at = {LONG_AGO}")


async def no_end(rig: Rig, ada: httpx.AsyncClient) -> None:
    await ended(rig, ada, *WHOLE[:3])


async def no_receipt(rig: Rig, ada: httpx.AsyncClient) -> None:
    await ended(rig, ada, *WHOLE)
    await rig.sql(
        "INSERT INTO runs (id, root_id, public_id, user_id, thread_id, agent, status, ready, "
        "priority, input, input_digest, commits, first_fence, ended_at, receipt) SELECT :id, :id, "
        f"'older', user_id, thread_id, agent, 'finished', true, 0, '{{}}', '', 0, 0, {LONG_AGO}, "
        "'{}' FROM runs",
        id=uuid7(),
    )
    await rig.sql(
        "INSERT INTO heads SELECT id, 0, 1, decode(repeat('00', 32), 'hex'), 1 FROM threads"
    )


async def row_deleted(rig: Rig, ada: httpx.AsyncClient) -> None:
    await ended(rig, ada, *WHOLE)
    await rig.sql("DELETE FROM events WHERE seq = 2")


async def first_row_deleted(rig: Rig, ada: httpx.AsyncClient) -> None:
    await ended(rig, ada, *WHOLE)
    await rig.sql("DELETE FROM events WHERE seq = 1")


async def last_row_deleted(rig: Rig, ada: httpx.AsyncClient) -> None:
    await ended(rig, ada, *WHOLE, "RUN_FINISHED")
    await rig.sql("DELETE FROM events WHERE seq = 5")


async def data_altered(rig: Rig, ada: httpx.AsyncClient) -> None:
    await ended(rig, ada, *WHOLE)
    await rig.sql("UPDATE events SET data = '{}' WHERE seq = 2")


async def type_altered(rig: Rig, ada: httpx.AsyncClient) -> None:
    await ended(rig, ada, *WHOLE)
    await rig.sql("UPDATE events SET type = 'RAW' WHERE seq = 2")


async def stream_of_the_future(rig: Rig, ada: httpx.AsyncClient) -> None:
    """As after a restored backup: the stream has a fence that SQL does not know."""
    await streamed(rig, await ended(rig, ada, *WHOLE), Position(2, 1))


async def stream_beyond_the_end(rig: Rig, ada: httpx.AsyncClient) -> None:
    await streamed(rig, await ended(rig, ada, *WHOLE), Position(1, 5))


async def unknown_effect(rig: Rig, ada: httpx.AsyncClient) -> None:
    await ended(rig, ada, *WHOLE)
    await rig.sql(
        "INSERT INTO effects (root_id, scope, call_id, arguments_digest, run_id, tool, "
        "status, executor, executor_until) SELECT id, 's', 'c', '', id, 'pay', 'claimed', "
        f"'dead', {LONG_AGO} FROM runs"
    )


async def streamed(rig: Rig, thread: UUID, last: Position) -> None:
    fields: dict[Any, Any] = {"type": "X", "run": "run_1", "data": "{}"}
    await rig.services.redis.xadd(events_key(thread), fields, id=str(last))


async def key(rig: Rig, run_id: str) -> UUID:
    found: UUID = await rig.value("SELECT id FROM runs WHERE public_id = :run", run=run_id)
    return found


PLANTED: list[tuple[Callable[[Rig, httpx.AsyncClient], Awaitable[None]], Defect]] = [
    (no_group, Defect.GROUP_MISSING),
    (rubbish, Defect.ENTRY_RUBBISH),
    (not_rung, Defect.RUN_NOT_RUNG),
    (abandoned, Defect.RUN_ABANDONED),
    (carried_by_nobody_known, Defect.RUN_ABANDONED),
    (unserved, Defect.NO_RUNNER),
    (stuck, Defect.THREAD_STUCK),
    (crowded, Defect.THREAD_CROWDED),
    (not_cancelled, Defect.CANCEL_STUCK),
    (no_end, Defect.END_MISSING),
    (no_receipt, Defect.RECEIPT_MISSING),
    (row_deleted, Defect.EVENTS_MISSING),
    (first_row_deleted, Defect.EVENTS_MISSING),
    (last_row_deleted, Defect.EVENTS_MISSING),
    (data_altered, Defect.EVENTS_ALTERED),
    (type_altered, Defect.EVENTS_ALTERED),
    (stream_of_the_future, Defect.STREAM_AHEAD),
    (stream_beyond_the_end, Defect.STREAM_AHEAD),
    (unknown_effect, Defect.EFFECT_UNKNOWN),
]


async def test_each_defect_is_planted() -> None:
    assert {defect for _, defect in PLANTED} == set(Defect)


async def found(operator: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await operator.get("/api/doctor")
    assert answer.status_code == 200, answer.text
    findings: list[dict[str, Any]] = answer.json()["findings"]
    return findings


@pytest.mark.parametrize(("plant", "defect"), PLANTED, ids=[one.__name__ for one, _ in PLANTED])
async def test_a_defect_is_found_and_mended_where_that_is_possible(
    rig: Rig,
    ada: httpx.AsyncClient,
    operator: httpx.AsyncClient,
    plant: Callable[[Rig, httpx.AsyncClient], Awaitable[None]],
    defect: Defect,
) -> None:
    assert await found(operator) == []
    await plant(rig, ada)
    for _ in range(2):  # looking changes nothing
        assert {one["code"] for one in await found(operator)} == {defect}
    mended = (await operator.post("/api/doctor/fix")).json()["findings"]
    # These are runners' and toolsvc's to end, and there are none here.
    others = (Defect.CANCEL_STUCK, Defect.RUN_ABANDONED)
    gone = ABOUT[defect].fixable and defect not in others
    assert {one["fixed"] for one in mended} == {gone}
    assert (await found(operator) == []) == gone


async def test_a_run_set_free_keeps_its_fence_and_is_rung_for(
    rig: Rig, ada: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    await abandoned(rig, ada)
    await operator.post("/api/doctor/fix")
    ((status, runner),) = await rig.sql("SELECT status, runner_id FROM runs")
    assert (status, runner) == ("running", None)
    assert await rig.rings() == [await key(rig, "run_1")]


async def test_the_first_of_a_stuck_thread_is_next(
    rig: Rig, ada: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    await stuck(rig, ada)
    await operator.post("/api/doctor/fix")
    rows = await rig.sql("SELECT public_id, ready FROM runs ORDER BY turn")
    assert rows == [("run_1", True), ("run_2", False)]


@pytest.mark.parametrize(
    "waits",
    [
        "UPDATE runs SET agent_digest = 'former'",  # rung for by a hint to whoever has its code
        f"UPDATE runs SET deaths = {SUSPECT}",  # waits for a process of its own
    ],
)
async def test_a_run_that_waits_for_a_certain_runner_is_not_missed_in_the_queue(
    rig: Rig, ada: httpx.AsyncClient, operator: httpx.AsyncClient, waits: str
) -> None:
    await not_rung(rig, ada)
    await rig.sql(waits)
    assert await found(operator) == []


@pytest.mark.parametrize("plant", [not_rung, abandoned])
async def test_a_run_that_waits_for_its_own_code_has_no_runner_and_is_not_abandoned(
    rig: Rig,
    ada: httpx.AsyncClient,
    operator: httpx.AsyncClient,
    plant: Callable[[Rig, httpx.AsyncClient], Awaitable[None]],
) -> None:
    await plant(rig, ada)
    await rig.sql("UPDATE runs SET agent_digest = 'former'")
    await rig.sql("UPDATE runners SET same_code = true")
    unserved = ["no_runner"] if plant is not_rung else []
    assert [one["code"] for one in await found(operator)] == unserved


async def test_what_is_gone_at_the_second_look_was_nothing(
    rig: Rig, ada: httpx.AsyncClient, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await not_rung(rig, ada)

    async def meanwhile() -> None:
        await rig.services.redis.xadd("runs", {"run": str(await key(rig, "run_1"))})

    monkeypatch.setattr(examination, "pause", meanwhile)
    assert await found(operator) == []


async def test_people_may_not_ask_the_doctor(rig: Rig, ada: httpx.AsyncClient) -> None:
    for answer in (await ada.get("/api/doctor"), await ada.post("/api/doctor/fix")):
        assert (answer.status_code, code_of(answer)) == (403, "forbidden")
