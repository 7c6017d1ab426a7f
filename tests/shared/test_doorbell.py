"""The doorbell: entries may be lost, doubled or rubbish, and every run is heard of all the same."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from shared.bus import doorbell
from shared.bus.connect import commands_client
from shared.bus.doorbell import Ring
from shared.bus.keys import GROUP, RUNS
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = commands_client(redis_url, "baton-test")
    yield client
    await client.aclose()


def rings(count: int) -> list[Ring]:
    return [Ring(uuid4(), uuid4()) for _ in range(count)]


async def heard(redis: Redis, consumer: str = "a", most: int = 10) -> list[doorbell.Bell]:
    return await doorbell.listen(redis, consumer, most=most, block_ms=1)


async def test_each_entry_wakes_one_runner(redis: Redis) -> None:
    await doorbell.ensure_group(redis)
    sent = rings(5)
    await doorbell.ring(redis, sent)
    first, rest = await heard(redis, "a", 2), await heard(redis, "b", 10)
    assert [bell.run for bell in (*first, *rest)] == [ring.run for ring in sent]
    assert await heard(redis, "c") == []


async def test_a_ring_before_there_was_a_group_is_heard(redis: Redis) -> None:
    (ring,) = sent = rings(1)
    await doorbell.ring(redis, sent)
    assert await heard(redis) == []  # this call made the group
    assert [bell.run for bell in await heard(redis)] == [ring.run]


async def test_the_group_is_made_once_and_again_after_a_flush(redis: Redis) -> None:
    await doorbell.ensure_group(redis)
    await doorbell.ensure_group(redis)
    await redis.flushall()
    assert await doorbell.rescue(redis, "a") == []
    assert await heard(redis) == []
    (ring,) = sent = rings(1)
    await doorbell.ring(redis, sent)
    assert [bell.run for bell in await heard(redis)] == [ring.run]


async def test_a_flush_under_a_waiting_reader_is_no_error(redis: Redis) -> None:
    await doorbell.ensure_group(redis)
    waiting = asyncio.create_task(doorbell.listen(redis, "a", most=1, block_ms=5_000))

    async def blocked() -> bool:
        return any(one["cmd"] == "xreadgroup" for one in await redis.client_list())

    await until(blocked)
    await redis.flushall()
    assert await waiting == []


async def test_rubbish_is_heard_as_a_bell_without_a_run(redis: Redis) -> None:
    await doorbell.ensure_group(redis)
    rubbish: list[dict[Any, Any]] = [
        {"run": "no uuid"}, {"run": b"\xff\xfe"}, {"walk": "1"}, {"run": ""},
    ]  # fmt: skip
    for fields in rubbish:
        await redis.xadd(RUNS, fields)
    bells = await heard(redis)
    assert [bell.run for bell in bells] == [None] * 4
    assert await doorbell.waiting(redis) == set()
    await doorbell.answered(redis, bells)
    assert await redis.xlen(RUNS) == 0


async def test_an_answered_entry_is_gone_for_good(redis: Redis) -> None:
    await doorbell.ensure_group(redis)
    sent = rings(3)
    await doorbell.ring(redis, sent)
    bells = await heard(redis)
    await doorbell.answered(redis, bells[:2])
    await doorbell.answered(redis, bells[:2])  # an answer that was lost and is given again
    await doorbell.answered(redis, [])
    assert await doorbell.waiting(redis) == {sent[2].run}
    assert (await redis.xpending(RUNS, GROUP))["pending"] == 1


async def test_a_dead_readers_entry_is_rescued_and_a_living_ones_is_not(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await doorbell.ensure_group(redis)
    (ring,) = sent = rings(1)
    await doorbell.ring(redis, sent)
    await heard(redis, "dead")
    assert await doorbell.rescue(redis, "alive") == []
    monkeypatch.setattr(doorbell, "RESCUE_AFTER_MS", 0)
    (bell,) = await doorbell.rescue(redis, "alive")
    assert bell.run == ring.run
    await doorbell.answered(redis, [bell])
    assert await doorbell.rescue(redis, "other") == []


async def test_an_entry_deleted_under_a_dead_reader_is_not_rescued(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbell, "RESCUE_AFTER_MS", 0)
    await doorbell.ensure_group(redis)
    await doorbell.ring(redis, rings(1))
    (bell,) = await heard(redis, "dead")
    await redis.xdel(RUNS, bell.entry)
    assert await doorbell.rescue(redis, "alive") == []
    assert (await redis.xpending(RUNS, GROUP))["pending"] == 0


async def test_a_reader_that_ends_takes_no_pending_entry_with_it(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbell, "RESCUE_AFTER_MS", 0)
    await doorbell.ensure_group(redis)
    await doorbell.ring(redis, rings(1))
    bells = await heard(redis, "a")
    await doorbell.remove_consumer(redis, "a")
    assert await doorbell.rescue(redis, "b") == bells
    await doorbell.answered(redis, bells)
    await doorbell.remove_consumer(redis, "b")
    await doorbell.remove_consumer(redis, "a")
    assert await redis.xinfo_consumers(RUNS, GROUP) == []


async def test_dead_readers_are_forgotten_and_pending_entries_kept(redis: Redis) -> None:
    await doorbell.ensure_group(redis)
    await doorbell.listen(redis, "idle", most=1, block_ms=1)
    await doorbell.ring(redis, [Ring(uuid4(), uuid4())])
    await doorbell.listen(redis, "pending", most=1, block_ms=1)
    assert await doorbell.forget_idle_consumers(redis) == 0
    assert await doorbell.forget_idle_consumers(redis, idle_ms=-1) == 1
    (left,) = await redis.xinfo_consumers(RUNS, GROUP)
    assert left["name"] == b"pending"


async def test_what_is_no_stream_and_has_its_name_goes(redis: Redis) -> None:
    await redis.set(RUNS, "something else")
    assert await heard(redis) == []
    await doorbell.ring(redis, rings(1))
    assert len(await heard(redis)) == 1
