"""The pump against a real Valkey that forgets, hangs up and runs full."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
import uvloop
from redis.asyncio import Redis

from runner import publisher as module
from runner.outbox import Outbox, delta_prefix
from runner.publisher import Publisher
from shared.bus.append import Answer, Batch, Entry, Mode, append
from shared.bus.connect import commands_client
from shared.bus.events import read_all_after
from shared.bus.keys import events_key
from shared.protocol.position import START, Position
from shared.protocol.record import ForeignRow
from tests.until import until

pytestmark = pytest.mark.stores

FENCE = 2
NAME = "baton-publisher-test"
PREFIX = delta_prefix({"type": "TEXT_MESSAGE_CHUNK", "messageId": "m"})


class Pump:
    """A publisher at work, and what it asked SQL."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.asked: list[Answer] = []
        self.ours = True
        self.publisher = Publisher(redis, self.confirm)

    async def confirm(self, outbox: Outbox, answer: Answer) -> None:
        self.asked.append(answer)
        if self.ours:
            outbox.refill()
        else:
            self.publisher.forget(outbox)

    async def outbox(self, thread: UUID | None = None) -> Outbox:
        """An outbox whose start row is in the stream."""
        thread = thread or uuid4()
        starts = [ForeignRow(FENCE, 1, "RUN_STARTED", "{}")]
        made = Outbox(
            thread=thread,
            run_id="r",
            fence=FENCE,
            starts=starts,
            ttl_s=60,
            changed=self.publisher.changed,
        )
        entries = [Entry(Position(FENCE, 1), "RUN_STARTED", "r", "{}")]
        await append(self.redis, Batch(thread, FENCE, entries, Mode.CREATE, sql_last=START))
        return made

    async def sent(self, outbox: Outbox) -> list[int]:
        """Wait until all is in Redis; the seqs that the stream has then."""
        assert await self.publisher.drained(outbox, within_s=60)
        return [one.at.seq for one in await read_all_after(self.redis, outbox.thread, START)]


@asynccontextmanager
async def pumping(redis: Redis) -> AsyncIterator[Pump]:
    pump = Pump(redis)
    running = asyncio.create_task(pump.publisher.run())
    try:
        yield pump
    finally:
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = commands_client(redis_url, NAME)
    yield client
    await client.aclose()


def speak(outbox: Outbox, number: int) -> None:
    outbox.emit({"type": "CUSTOM", "name": "n", "value": number})


@pytest.mark.asyncio
async def test_many_runs_are_sent_whole_and_in_order(redis: Redis) -> None:
    async with pumping(redis) as pump:
        outboxes = [await pump.outbox() for _ in range(20)]
        for number in range(150):
            for outbox in outboxes:
                if number % 3:
                    outbox.delta("TEXT_MESSAGE_CHUNK", PREFIX, f"{number} ")
                else:
                    speak(outbox, number)
            if number % 10 == 0:
                await asyncio.sleep(0)
        for outbox in outboxes:
            assert await pump.sent(outbox) == list(range(1, outbox.last + 1))
        assert pump.asked == []


@pytest.mark.asyncio
async def test_a_flush_in_mid_run_is_made_good(redis: Redis) -> None:
    async with pumping(redis) as pump:
        outbox = await pump.outbox()
        for number in range(100):
            speak(outbox, number)
            if number % 30 == 10:
                await pump.sent(outbox)
                await redis.flushall()
        assert await pump.sent(outbox) == list(range(1, 102))
        assert set(pump.asked) == {Answer.EMPTY}


@pytest.mark.asyncio
async def test_connections_killed_in_mid_run_double_and_lose_nothing(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.001)
    killer = commands_client(redis_url, "killer")
    async with pumping(redis) as pump:
        outbox = await pump.outbox()
        for number in range(60):
            speak(outbox, number)
            if number % 5 == 0:
                for one in await killer.client_list():
                    if one["name"] == NAME:
                        await killer.client_kill_filter(_id=one["id"])
        assert await pump.publisher.drained(outbox, within_s=60)
        entries = await read_all_after(killer, outbox.thread, START)
        assert [one.at.seq for one in entries] == list(range(1, 62))
    await killer.aclose()


@pytest.mark.asyncio
async def test_a_redis_that_is_full_is_waited_for(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.01)
    async with pumping(redis) as pump:
        outbox, key = await pump.outbox(), "maxmemory"
        before = str((await redis.config_get(key))[key])
        refused = asyncio.Event()
        monkeypatch.setattr(module.log, "warning", lambda *_, **__: refused.set())
        await redis.config_set(key, "1")
        try:
            speak(outbox, 1)
            await asyncio.wait_for(refused.wait(), 20)
            assert outbox.unsent
        finally:
            await redis.config_set(key, before)
        assert await pump.sent(outbox) == [1, 2]


@pytest.mark.asyncio
async def test_a_refused_outbox_does_not_hold_up_the_others(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.01)
    async with pumping(redis) as pump:
        broken, good = await pump.outbox(), await pump.outbox()
        await redis.set(events_key(broken.thread), "not a stream")
        for number in range(20):
            speak(broken, number)
            speak(good, number)
        assert await pump.sent(good) == list(range(1, 22))
        await redis.delete(events_key(broken.thread))
        assert await pump.sent(broken) == list(range(1, 22))


@pytest.mark.asyncio
async def test_who_was_overtaken_asks_sql_once_and_falls_silent(redis: Redis) -> None:
    async with pumping(redis) as pump:
        pump.ours = False
        outbox, other = await pump.outbox(), await pump.outbox()
        successor = [Entry(Position(FENCE + 1, 1), "CUSTOM", "r", "{}")]
        await append(redis, Batch(outbox.thread, FENCE + 1, successor, Mode.CREATE))
        speak(outbox, 1)

        async def asked() -> bool:
            return bool(pump.asked)

        await until(asked)
        speak(outbox, 2)  # agent code that does not let go
        speak(other, 1)
        assert await pump.sent(other) == [1, 2]
        assert pump.asked == [Answer.FENCED]
        entries = await read_all_after(redis, outbox.thread, START)
        assert [one.at for one in entries] == [(FENCE, 1), (FENCE + 1, 1)]


@pytest.mark.asyncio
async def test_nobody_waits_for_what_will_not_be_sent(redis: Redis) -> None:
    pump = Pump(redis)  # and it does not run
    outbox = await pump.outbox()
    speak(outbox, 1)
    assert not await pump.publisher.drained(outbox, within_s=0)
    waiting = asyncio.create_task(pump.publisher.drained(outbox, within_s=60))
    pump.publisher.forget(outbox)
    assert await asyncio.wait_for(waiting, 5) is False


@pytest.mark.asyncio
async def test_the_terminal_event_waits_for_its_release(redis: Redis) -> None:
    async with pumping(redis) as pump:
        outbox = await pump.outbox()
        speak(outbox, 1)
        outbox.hold_back({"type": "RUN_FINISHED"})
        assert await pump.sent(outbox) == [1, 2]
        outbox.release()
        assert await pump.sent(outbox) == [1, 2, 3]


def test_uvloops_shortest_timers_know_no_time(redis_url: str) -> None:
    async def speaking() -> None:
        client = commands_client(redis_url, NAME)
        async with pumping(client) as pump:
            outboxes = [await pump.outbox() for _ in range(3)]
            for outbox in outboxes:
                outbox.delta("TEXT_MESSAGE_CHUNK", PREFIX, "x")
                outbox.due = time.monotonic() + 0.0003
                pump.publisher.changed(outbox)
            for outbox in outboxes:
                assert await pump.sent(outbox) == [1, 2]
        await client.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(speaking())
