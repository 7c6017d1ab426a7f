"""append.lua against its model, on Valkey and on the oldest Redis that is supported."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.bus.append import Answer, Batch, Entry, Mode, Reply, append, append_all
from shared.bus.connect import commands_client
from shared.bus.events import Announcement, parse_announcement, read_all_after
from shared.bus.keys import events_key
from shared.protocol.position import START, Position
from tests.shared.append_model import StreamModel

pytestmark = pytest.mark.stores

TTL_S = 77
FENCES = 3
PROPERTY = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def entry(fence: int, seq: int, data: str | None = None) -> Entry:
    text = data if data is not None else f'{{"seq":"{fence}-{seq}"}}'
    return Entry(Position(fence, seq), "CUSTOM", "run_1", text)


def own(thread: UUID, fence: int, low: int, count: int, **more: Any) -> Batch:
    entries = [entry(fence, seq) for seq in range(low, low + count)]
    return Batch(thread, fence, entries, ttl_s=TTL_S, **more)


def created(thread: UUID, fence: int, *positions: tuple[int, int], **more: Any) -> Batch:
    entries = [entry(*at) for at in sorted(positions)]
    return Batch(thread, fence, entries, Mode.CREATE, ttl_s=TTL_S, **more)


class Server:
    """A thread on a real server, with an ear on its channel."""

    def __init__(self, redis: Redis, thread: UUID, ear: Any) -> None:
        self.redis, self.thread, self.ear = redis, thread, ear
        self.heard: list[Announcement] = []

    async def append(self, batch: Batch) -> Reply:
        return await append(self.redis, batch)

    async def entries(self) -> list[Entry]:
        return await read_all_after(self.redis, self.thread, START)

    async def listen(self) -> list[Announcement]:
        """Everything published so far: a last word of our own marks the end."""
        await self.redis.publish(events_key(self.thread), "enough")
        while True:
            message = await self.ear.get_message(ignore_subscribe_messages=True, timeout=30)
            if message is None:
                continue
            if message["data"] == b"enough":
                return self.heard
            self.heard.append(parse_announcement(message["data"]))

    async def lose(self, keep: int) -> None:
        """A failover: of the stream only the first `keep` entries are left."""
        kept = (await self.entries())[:keep]
        await self.redis.delete(events_key(self.thread))
        for one in kept:
            fields: dict[Any, Any] = {"type": one.type, "run": one.run, "data": one.data}
            await self.redis.xadd(events_key(self.thread), fields, id=str(one.at))


def on_server(url: str, story: Callable[[Server], Awaitable[None]]) -> None:
    async def tell() -> None:
        redis = commands_client(url, "baton-test")
        try:
            async with redis.pubsub() as ear:
                thread = uuid4()
                await ear.subscribe(events_key(thread))
                await story(Server(redis, thread, ear))
                await redis.delete(events_key(thread))
        finally:
            await redis.aclose()

    asyncio.run(tell())


# ------------------------------------------------------------------------------ any sequence
@dataclass(frozen=True)
class Write:
    """An append that a writer may try."""

    make: Callable[[UUID], Batch]
    shown: str

    def __repr__(self) -> str:
        return self.shown


@dataclass(frozen=True)
class Lose:
    """Redis forgets all but its first entries."""

    keep: int


@st.composite
def writes(draw: st.DrawFn) -> Write:
    fence = draw(st.integers(1, FENCES))
    low, count = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    mode = draw(st.sampled_from([Mode.APPEND, Mode.APPEND, Mode.FORCE]))
    settled = draw(st.booleans())
    return Write(
        lambda thread: own(thread, fence, low, count, mode=mode, settled=settled),
        f"{mode} {fence}-{low} and {count - 1} more, settled={settled}",
    )


@st.composite
def creations(draw: st.DrawFn) -> Write:
    fence = draw(st.integers(1, FENCES))
    older = draw(st.sets(st.integers(1, FENCES), max_size=3))
    positions = [(one, 1) for one in older if one < fence] + [(fence, 1)]
    low, count = draw(st.integers(2, 6)), draw(st.integers(0, 4))
    positions += [(fence, seq) for seq in range(low, low + count)]
    sql_last = draw(st.none() | st.builds(Position, st.integers(0, FENCES), st.integers(0, 9)))
    settled = draw(st.booleans())
    return Write(
        lambda thread: created(thread, fence, *positions, sql_last=sql_last, settled=settled),
        f"create {positions}, sql_last={sql_last}, settled={settled}",
    )


STEPS = st.lists(
    writes() | creations() | st.builds(Lose, st.integers(0, 6)), min_size=1, max_size=12
)


@PROPERTY
@given(steps=STEPS)
def test_every_answer_entry_and_message_is_the_models(
    any_redis_url: str, steps: list[Write | Lose]
) -> None:
    async def story(server: Server) -> None:
        model = StreamModel()
        for step in steps:
            if isinstance(step, Lose):
                await server.lose(step.keep)
                del model.entries[step.keep :]
                continue
            batch = step.make(server.thread)
            expected = model.append(batch)
            assert await server.append(batch) == expected, step
            assert await server.entries() == model.entries, step
            if expected.answer is Answer.OK:
                life = await server.redis.ttl(events_key(server.thread))
                assert TTL_S - 2 <= life <= TTL_S
        assert await server.listen() == model.published

    on_server(any_redis_url, story)


@PROPERTY
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    sent=st.lists(st.integers(1, 3), min_size=8, max_size=8),
    overlaps=st.lists(st.integers(0, 4), min_size=8, max_size=8),
)
def test_replies_may_be_lost_and_batches_overlap_without_harm(
    any_redis_url: str, sizes: list[int], sent: list[int], overlaps: list[int]
) -> None:
    """Each batch is sent up to three times; one that begins with what is there goes nowhere."""

    async def story(server: Server) -> None:
        await server.append(created(server.thread, 5, (5, 1), sql_last=START))
        upto = 1
        for size, times, overlap in zip(sizes, sent, overlaps, strict=False):
            low = max(1, upto + 1 - overlap)
            if low <= upto:
                reply = await server.append(own(server.thread, 5, low, upto + size + 1 - low))
                assert reply == Reply(Answer.HAVE, upto)
            for repeat in range(times):
                reply = await server.append(own(server.thread, 5, upto + 1, size))
                assert reply == Reply(Answer.HAVE if repeat else Answer.OK, upto + size)
            upto += size
        positions = [one.at for one in await server.entries()]
        assert positions == [Position(5, seq) for seq in range(1, upto + 1)]
        told = [event for message in await server.listen() for event in message.events]
        assert told == [one.data.encode() for one in await server.entries()]

    on_server(any_redis_url, story)


@PROPERTY
@given(order=st.lists(st.sampled_from([1, 2]), min_size=2, max_size=20))
def test_of_two_writers_the_lower_fence_never_follows_the_higher(
    any_redis_url: str, order: list[int]
) -> None:
    """Both believe that the thread is theirs; each starts with its own start row."""

    async def story(server: Server) -> None:
        seqs = {1: 0, 2: 0}
        for fence in order:
            batch = (
                own(server.thread, fence, seqs[fence] + 1, 1)
                if seqs[fence]
                else created(server.thread, fence, (fence, 1), sql_last=START)
            )
            reply = await server.append(batch)
            if fence == 1 and seqs[2]:
                assert reply == Reply(Answer.FENCED, 2)
            else:
                seqs[fence] += 1
                assert reply == Reply(Answer.OK, seqs[fence])
        positions = [one.at for one in await server.entries()]
        assert positions == [Position(f, s) for f in (1, 2) for s in range(1, seqs[f] + 1)]

    on_server(any_redis_url, story)


# ------------------------------------------------------------------------------ one by one
def test_a_gone_stream_is_empty_to_all_but_a_claimant(any_redis_url: str) -> None:
    async def story(server: Server) -> None:
        assert await server.append(own(server.thread, 3, 2, 1)) == Reply(Answer.EMPTY)
        forced = own(server.thread, 3, 2, 1, mode=Mode.FORCE)
        assert await server.append(forced) == Reply(Answer.EMPTY)
        assert not await server.redis.exists(events_key(server.thread))
        made = created(server.thread, 3, (1, 1), (3, 1), sql_last=START)
        assert await server.append(made) == Reply(Answer.OK, 1)
        assert await server.append(own(server.thread, 3, 2, 1)) == Reply(Answer.OK, 2)

    on_server(any_redis_url, story)


def test_a_gap_is_answered_with_what_is_there_and_forced_past_on_request(
    any_redis_url: str,
) -> None:
    async def story(server: Server) -> None:
        await server.append(created(server.thread, 2, (2, 1), sql_last=START))
        for low in (3, 4, 5):
            assert await server.append(own(server.thread, 2, low, 2)) == Reply(Answer.HAVE, 1)
        forced = own(server.thread, 2, 5, 2, mode=Mode.FORCE)
        assert await server.append(forced) == Reply(Answer.OK, 6)
        assert await server.append(own(server.thread, 2, 7, 1)) == Reply(Answer.OK, 7)

    on_server(any_redis_url, story)


def test_a_new_run_names_the_later_of_the_streams_and_sqls_last_id(any_redis_url: str) -> None:
    async def story(server: Server) -> None:
        thread = server.thread
        await server.append(created(thread, 1, (1, 1), sql_last=START))
        await server.append(created(thread, 2, (2, 1), sql_last=Position(1, 9)))
        await server.append(created(thread, 3, (3, 1), sql_last=Position(1, 9)))
        before = [message.before for message in await server.listen()]
        assert before == [START, Position(1, 9), Position(2, 1)]

    on_server(any_redis_url, story)


def test_nobody_has_a_cursor_before_a_refill(any_redis_url: str) -> None:
    """Start rows of several fences are messages of their own, and each is a gap for everybody."""

    async def story(server: Server) -> None:
        await server.append(created(server.thread, 4, (2, 1), (4, 1), (4, 2), (4, 3)))
        first, second = await server.listen()
        assert (first.before, first.first, len(first.events)) == ((2, 1), (2, 1), 1)
        assert (second.before, second.first, len(second.events)) == ((4, 1), (4, 1), 3)

    on_server(any_redis_url, story)


def test_many_threads_go_in_one_pipeline_and_a_broken_one_harms_no_other(
    any_redis_url: str,
) -> None:
    async def story(server: Server) -> None:
        others = [uuid4() for _ in range(3)]
        await server.redis.set(events_key(others[1]), "not a stream")
        batches = [created(one, 1, (1, 1), sql_last=START) for one in others]
        good, broken, also_good = await append_all(server.redis, batches)
        assert (good, also_good) == (Reply(Answer.OK, 1), Reply(Answer.OK, 1))
        assert isinstance(broken, ResponseError)
        await server.redis.delete(*map(events_key, others))

    on_server(any_redis_url, story)


def test_a_server_that_forgot_the_script_gets_it_again(any_redis_url: str) -> None:
    async def story(server: Server) -> None:
        await server.redis.script_flush()
        made = created(server.thread, 1, (1, 1), sql_last=START)
        assert await server.append(made) == Reply(Answer.OK, 1)

    on_server(any_redis_url, story)


def test_any_text_is_appended_and_published_byte_for_byte(any_redis_url: str) -> None:
    async def story(server: Server) -> None:
        texts = ['{"a":"é😀\\u0000\\n"}', "{}", '{"b":"' + "x" * 100_000 + '"}']
        entries = [entry(1, seq, text) for seq, text in enumerate(texts, start=1)]
        batch = Batch(server.thread, 1, entries, Mode.CREATE, ttl_s=TTL_S, sql_last=START)
        await server.append(batch)
        assert [one.data for one in await server.entries()] == texts
        (message,) = await server.listen()
        assert message.events == [text.encode() for text in texts]

    on_server(any_redis_url, story)
