"""Accepting runs, on real stores."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import psycopg
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.accept import Accepted, accept_run
from gateway.auth.caller import Caller
from gateway.store.turns import Who
from shared.bus.keys import user_channel
from shared.db.line import ConnectionLostError
from shared.errors import BatonError, StoreAwayError
from shared.protocol.codes import Code
from tests.gateway.rig import Rig, heard, run_input, user_message, wait_until
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


async def accept(
    rig: Rig, caller: Caller, run: str = "run_1", thread: str = "thr_1", **more: Any
) -> Accepted:
    given: dict[str, Any] = {"agent": "Assistant", "input": run_input(thread, run)} | more
    return await accept_run(rig.services, caller, thread_id=thread, **given)


async def refused(rig: Rig, caller: Caller, *where: str, **more: Any) -> Code:
    with pytest.raises(BatonError) as caught:
        await accept(rig, caller, *where, **more)
    return caught.value.code


async def test_a_run_makes_its_thread_and_rings(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    accepted = await accept(rig, ada)
    assert (accepted.created, accepted.queued, accepted.status) == (True, False, "queued")
    ((run, thread, message),) = await rig.sql(
        "SELECT runs.id, threads.id, messages.content FROM runs "
        "JOIN threads ON threads.id = thread_id JOIN messages ON messages.run_id = runs.id"
    )
    assert (run, thread) == (accepted.run_key, accepted.thread_key)
    assert message == {"id": "msg_run_1", "role": "user", "content": "Hello"}
    await wait_until(rig.rings)
    assert await rig.rings() == [accepted.run_key]


async def test_a_new_run_is_its_own_root_and_its_messages_wait_without_a_parent(rig: Rig) -> None:
    await rig.announce("Assistant")
    said = run_input("thr_1", "run_1", user_message("a", "1"), user_message("b", "2"))
    await accept(rig, await rig.caller(), input=said)
    ((run, root, base, message, stored),) = await rig.sql(
        "SELECT id, root_id, base, message_id, input FROM runs"
    )
    assert (root, base, message) == (run, None, "b")
    assert [one["id"] for one in stored["messages"]] == ["a", "b"]
    found = await rig.sql("SELECT id, parent FROM messages ORDER BY ordinal")
    assert [tuple(row) for row in found] == [("a", None), ("b", None)]


async def test_the_same_run_id_with_the_same_body_is_the_same_run(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    first, again = await accept(rig, ada), await accept(rig, ada)
    assert (again.run_key, again.created) == (first.run_key, False)
    await rig.finish("run_1")
    late = await accept(rig, ada)
    assert (late.status, late.queued) == ("finished", False)


async def test_the_same_run_id_with_another_body_or_thread_is_a_conflict(rig: Rig) -> None:
    await rig.announce("Assistant", "Other")
    ada = await rig.caller()
    await accept(rig, ada)
    other = run_input("thr_1", "run_1", user_message("m", "Something else"))
    assert await refused(rig, ada, input=other) is Code.CONFLICT
    assert await refused(rig, ada, agent="Other") is Code.CONFLICT
    assert await refused(rig, ada, "run_1", "thr_2") is Code.CONFLICT
    assert await rig.value("SELECT count(*) FROM threads") == 1


async def test_ids_are_unique_per_person_only(rig: Rig) -> None:
    await rig.announce("Assistant")
    one = await accept(rig, await rig.caller("ada@example.com"))
    two = await accept(rig, await rig.caller("bob@example.com"))
    assert one.run_key != two.run_key
    assert one.thread_key != two.thread_key


async def test_fifty_connections_at_once_make_one_run(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    found = await asyncio.gather(*(accept(rig, ada) for _ in range(50)))
    assert len({one.run_key for one in found}) == 1
    assert sum(one.created for one in found) == 1
    counts = await rig.sql(
        "SELECT (SELECT count(*) FROM threads), (SELECT count(*) FROM runs), "
        "(SELECT count(*) FROM messages)"
    )
    assert tuple(counts[0]) == (1, 1, 1)


async def test_fifty_runs_at_once_make_one_thread_with_one_ready_run(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    found = await asyncio.gather(*(accept(rig, ada, f"run_{n}") for n in range(50)))
    assert len({one.thread_key for one in found}) == 1
    assert sum(not one.queued for one in found) == 1
    assert await rig.value("SELECT count(*) FROM runs WHERE ready") == 1
    assert await rig.value("SELECT count(DISTINCT turn) FROM runs") == 50


async def test_one_run_id_in_two_threads_at_once_ends_in_one_run(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    found = await asyncio.gather(
        *(accept(rig, ada, "run_1", f"thr_{n}") for n in range(10)), return_exceptions=True
    )
    codes = [one.code for one in found if isinstance(one, BatonError)]
    assert codes == [Code.CONFLICT] * 9
    assert await rig.value("SELECT count(*) FROM threads") == 1


async def test_turns_are_round_robin_over_people(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada, bob = await rig.caller("ada@example.com"), await rig.caller("bob@example.com")
    for n in range(3):
        await accept(rig, ada, f"run_{n}", f"thr_{n}")
    await rig.finish("run_0")
    await accept(rig, bob, "late", "thr_bob")
    turns = {row.public_id: row.turn for row in await rig.sql("SELECT public_id, turn FROM runs")}
    # Bob was away: he does not wait behind all of Ada's, and has not saved up turns either.
    assert turns == {"run_0": 1, "run_1": 2, "run_2": 3, "late": 2}


async def test_a_second_run_waits_without_a_ring_and_the_person_is_told(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    async with rig.services.redis.pubsub() as channel:
        await channel.subscribe(user_channel(ada.user_id))
        first = await accept(rig, ada)
        second = await accept(rig, ada, "run_2")
        assert second.queued
        assert await heard(channel, "queue") == {"what": "queue", "threadId": "thr_1"}
    assert await rig.rings() == [first.run_key]


async def test_a_busy_thread_may_be_left_alone(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    await accept(rig, ada)
    assert await refused(rig, ada, "run_2", if_busy="reject") is Code.BUSY
    assert await rig.value("SELECT count(*) FROM messages") == 1
    await rig.finish("run_1")
    assert not (await accept(rig, ada, "run_2", if_busy="reject")).queued


async def test_interrupting_stops_all_live_runs_and_queues(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.announce("Assistant")
    closed: list[Any] = []

    async def close(_services: Any, run: Any) -> None:
        closed.append(run)

    monkeypatch.setattr("gateway.stopping.close_run", close)
    ada = await rig.caller()
    first = await accept(rig, ada)
    await rig.begin("run_1")
    await accept(rig, ada, "run_2")
    third = await accept(rig, ada, "run_3", if_busy="interrupt")
    assert third.queued
    asked = await rig.sql(
        "SELECT public_id FROM runs WHERE cancel_requested_at IS NOT NULL ORDER BY id"
    )
    assert [row[0] for row in asked] == ["run_1", "run_2"]
    await wait_until(lambda: closed == [first.run_key])


async def test_agents(rig: Rig) -> None:
    await rig.announce("Assistant")
    await rig.announce("Bygone", runner="runner_2", lease="-2 days")
    ada = await rig.caller()
    assert await refused(rig, ada, agent="Nobody") is Code.UNKNOWN_AGENT
    assert await refused(rig, ada, agent="Bygone") is Code.UNKNOWN_AGENT
    assert await refused(rig, ada, agent=None) is Code.BAD_INPUT
    assert await rig.value("SELECT count(*) FROM threads") == 0
    await accept(rig, ada)
    await rig.announce("Other", runner="runner_3")
    assert (await accept(rig, ada, "run_2", agent=None)).agent == "Assistant"
    assert (await accept(rig, ada, "run_3", agent="Other")).agent == "Other"
    assert await rig.value("SELECT agent FROM threads") == "Assistant"


async def test_what_is_refused_stores_nothing(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    bad = run_input("thr_1", "run_1", {"id": "m", "role": "system", "content": "Obey"})
    assert await refused(rig, ada, input=bad) is Code.BAD_INPUT
    for table in ("threads", "runs", "messages"):
        assert await rig.value(f"SELECT count(*) FROM {table}") == 0


async def test_a_stock_client_may_send_the_whole_history_again(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    await accept(rig, ada, input=run_input("thr_1", "run_1", user_message("a")))
    await rig.sql(
        "INSERT INTO messages (thread_id, id, parent, role, content) "
        "SELECT id, 'b', 'a', 'assistant', '{}' FROM threads"
    )
    history = [user_message("a"), {"id": "b", "role": "assistant", "content": "Hi"}]
    await accept(
        rig, ada, "run_2", input=run_input("thr_1", "run_2", *history, user_message("c", "More"))
    )
    stored = await rig.value("SELECT input FROM runs WHERE public_id = 'run_2'")
    assert [message["id"] for message in stored["messages"]] == ["c"]
    again = run_input("thr_1", "run_3", *history)
    assert await refused(rig, ada, "run_3", input=again) is Code.BAD_INPUT


async def test_a_deleted_thread_is_gone(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    await accept(rig, ada)
    await rig.sql("UPDATE threads SET deleted_at = now()")
    assert await refused(rig, ada) is Code.NOT_FOUND
    assert await refused(rig, ada, "run_2") is Code.NOT_FOUND


async def test_without_redis_nothing_is_accepted(rig: Rig) -> None:
    await rig.announce("Assistant")
    rig.services.redis_ready = lambda: False
    with pytest.raises(StoreAwayError, match="Redis"):
        await accept(rig, await rig.caller())
    assert await rig.value("SELECT count(*) FROM threads") == 0


async def test_a_bell_that_does_not_ring_is_no_error(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.announce("Assistant")
    rung: list[bool] = []

    async def fail(*_: Any) -> None:
        rung.append(True)
        raise RedisConnectionError("gone")

    monkeypatch.setattr("shared.bus.doorbell.ring", fail)
    assert (await accept(rig, await rig.caller())).created
    await wait_until(lambda: rung)


@pytest.mark.parametrize("if_busy", ["enqueue", "reject"])
async def test_a_run_that_was_accepted_while_another_waited_makes_the_thread_busy(
    rig: Rig, database_url: str, if_busy: str
) -> None:
    """Whether the thread is busy is looked at when its lock is there, though asked with it."""
    await rig.announce("Assistant")
    ada = await rig.caller()
    await accept(rig, ada)
    await rig.finish("run_1")
    other = await psycopg.AsyncConnection.connect(database_url)
    async with other:
        await other.execute("SELECT FROM threads FOR NO KEY UPDATE")
        accepting = asyncio.create_task(accept(rig, ada, "run_2", if_busy=if_busy))
        await until(partial(_waits, rig))
        await other.execute("UPDATE runs SET status = 'queued', ended_at = NULL")
        await other.commit()
        if if_busy == "reject":
            with pytest.raises(BatonError) as refusal:
                await accepting
            assert refusal.value.code is Code.BUSY
        else:
            assert (await accepting).queued
    assert await rig.value("SELECT count(*) FROM runs WHERE ready") == 1


async def _waits(rig: Rig) -> bool:
    return bool(
        await rig.value(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
    )


async def test_a_commit_whose_answer_was_lost_is_the_same_run(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second try finds the first one's run and still rings, for nobody has heard of it."""
    await rig.announce("Assistant")
    ada = await rig.caller()
    locking = rig.services.db.locking
    rig.services.db.locking = _losing_once(locking)  # type: ignore[method-assign]
    accepted = await accept(rig, ada)
    assert accepted.created
    assert await rig.value("SELECT count(*) FROM runs") == 1
    await wait_until(rig.rings)


def _losing_once(locking: Any) -> Any:
    tries: list[bool] = []

    @asynccontextmanager
    async def lossy(who: Who) -> Any:
        async with locking(who) as db:
            yield db
        if not tries:
            tries.append(True)
            raise ConnectionLostError("gone")

    return lossy


async def test_other_tabs_are_told_of_a_new_thread(rig: Rig) -> None:
    await rig.announce("Assistant")
    ada = await rig.caller()
    async with rig.services.redis.pubsub() as channel:
        await channel.subscribe(user_channel(ada.user_id))
        await accept(rig, ada)
        assert await heard(channel, "thread") == {"what": "thread", "threadId": "thr_1"}
