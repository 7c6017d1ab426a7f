"""The relay on a real Valkey and a real Postgres: everything arrives once, whatever Redis does."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from gateway.relay import relay, sql
from gateway.relay.listener import Listener
from shared.bus import events
from shared.bus.append import Answer, Batch, Entry, Mode, append
from shared.bus.events import PAGE
from shared.bus.keys import events_key
from shared.protocol.position import START, Position
from tests.gateway.relay.rig import RelayRig, Sink, ids
from tests.gateway.rig import wait_until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


async def test_all_sockets_of_a_thread_get_the_same_frames(rig: RelayRig) -> None:
    thread = await rig.thread()
    sinks = [Sink() for _ in range(50)]
    for sink in sinks:
        await rig.listen(thread, sink)
    await thread.begin()
    await thread.say(200)
    await wait_until(lambda: all(len(sink.frames) == 201 for sink in sinks))
    assert sinks[0].ids == ids(1, 1, 201)
    for sink in sinks[1:]:  # one text for all of them, not equal ones
        assert all(one is other for one, other in zip(sink.frames, sinks[0].frames, strict=True))


async def test_listeners_have_cursors_of_their_own(rig: RelayRig) -> None:
    thread = await rig.thread()
    await thread.begin()
    await thread.say(9)
    early, late = Sink(), Sink()
    await rig.listen(thread, early, Position(1, 2))
    await rig.listen(thread, late, Position(1, 8))
    await thread.say(1)
    await wait_until(lambda: len(late.frames) == 3)
    assert (early.ids, late.ids) == (ids(1, 3, 11), ids(1, 9, 11))


async def test_what_a_flushed_stream_has_again_is_not_shown_again(rig: RelayRig) -> None:
    thread, sink = await rig.thread(), Sink()
    await rig.listen(thread, sink)
    await thread.begin()
    await thread.say(10)
    await wait_until(lambda: len(sink.frames) == 11)
    await rig.redis.flushall()
    refill = [
        Entry(Position(1, seq), "X", "run", thread.event(Position(1, seq))) for seq in range(1, 12)
    ]
    await append(rig.redis, Batch(thread.key, 1, refill, Mode.CREATE))
    await thread.say(5)
    await wait_until(lambda: len(sink.frames) == 16)
    assert sink.ids == ids(1, 1, 16)


async def test_a_terminal_event_whose_message_was_lost_arrives_with_the_looks(
    rig: RelayRig, quick_looks: None
) -> None:
    thread, sink = await rig.thread(), Sink()
    await rig.listen(thread, sink)
    await thread.begin()
    await thread.say(3)
    await thread.say(1, heard=False)
    await thread.store(2, 4)
    await thread.store(5)
    await wait_until(lambda: sink.ids == ids(1, 1, 5))
    assert sink.text == thread.text_from()


async def test_a_take_over_is_not_shown_before_it_is_settled(
    rig: RelayRig, quick_looks: None
) -> None:
    thread, sink = await rig.thread(), Sink()
    listener = await rig.listen(thread, sink)
    await thread.begin()
    await thread.say(3)
    await wait_until(lambda: len(sink.frames) == 4)
    start = Entry(Position(2, 1), "X", "run", thread.event(Position(2, 1)))
    unsettled = Batch(thread.key, 2, [start], Mode.CREATE, settled=False, sql_last=Position(1, 1))
    assert (await append(rig.redis, unsettled)).answer is Answer.OK
    rig.relay.catch_up(listener, "test")
    await wait_until(lambda: listener.live)
    assert sink.ids == ids(1, 1, 4)
    await thread.store(2, 4)
    thread.fence, thread.seq = 2, 1
    await thread.store(1)
    await thread.say(2)
    await wait_until(lambda: len(sink.frames) == 7)
    assert sink.ids == [*ids(1, 1, 4), *ids(2, 1, 3)]


async def test_a_slow_listener_gets_everything_in_the_end_and_buffers_little(
    rig: RelayRig,
) -> None:
    thread, slow, quick = await rig.thread(), Sink(room_for=3), Sink()
    await rig.listen(thread, slow)
    slow.reads = False
    await rig.listen(thread, quick)
    await thread.begin()
    await thread.say(2 * PAGE)
    await wait_until(lambda: len(quick.frames) == 2 * PAGE + 1, within_s=60)
    assert len(slow.frames) == 3
    slow.read()
    await wait_until(lambda: len(slow.frames) == len(quick.frames), within_s=60)
    assert slow.frames == quick.frames


async def test_large_events_are_not_read_over_and_over_for_a_small_buffer(
    rig: RelayRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread, sink, entries = await rig.thread(), Sink(room_for=1), 0
    read_after = events.read_after

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal entries
        found = await read_after(*args, **options)
        entries += len(found)
        return found

    await thread.begin()
    await thread.say(PAGE)
    monkeypatch.setattr(relay, "read_after", counted)
    await rig.listen(thread, sink)
    assert len(sink.frames) == PAGE + 1
    assert entries < 6 * PAGE


async def test_a_cursor_inside_joined_text_that_only_sql_has_is_placed_anew_by_its_sink(
    rig: RelayRig,
) -> None:
    thread, sink = await rig.thread(), Sink()
    await thread.begin()
    await thread.say(9)
    await thread.store(2, 10)
    await rig.redis.flushall()
    said: list[str] = []
    listener = await rig.listen(thread, sink, Position(1, 5), live=False)
    listener.on_live = lambda: said.append("live")
    await wait_until(lambda: sink.restarts)
    assert (sink.frames, listener.live, said) == ([], False, [])
    rig.relay.place(listener, Position(1, 0), "reset")
    await wait_until(lambda: said == ["live"])
    assert (sink.ids, sink.text) == (["1-1", "1-10"], thread.text_from())


async def test_joined_text_longer_than_a_page_is_resent_from_the_stream_event_by_event(
    rig: RelayRig,
) -> None:
    thread, sink = await rig.thread(), Sink()
    await thread.begin()
    await thread.say(3 * PAGE)
    await thread.store(2, 3 * PAGE + 1)
    await rig.listen(thread, sink, Position(1, 5))
    assert sink.ids == ids(1, 6, 3 * PAGE + 1)
    assert sink.restarts == []


async def test_a_listener_that_is_placed_anew_while_it_is_caught_up_skips_nothing(
    rig: RelayRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread, sink = await rig.thread(), Sink()
    await thread.begin()
    await thread.say(9)
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(*args: Any, **options: Any) -> Any:
        found = await sql.read_rows(*args, **options)
        reading.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(relay, "read_rows", slowly)
    listener = await rig.listen(thread, sink, Position(1, 8), live=False)
    await reading.wait()
    rig.relay.place(listener, Position(1, 2), "reset")
    go_on.set()
    await wait_until(lambda: listener.live)
    assert sink.ids == ids(1, 3, 10)


async def test_a_listener_may_leave_while_it_is_caught_up(rig: RelayRig) -> None:
    thread = await rig.thread()
    await thread.begin()
    await thread.say(PAGE)
    sinks = [Sink() for _ in range(40)]
    joined = [await rig.listen(thread, sink, live=False) for sink in sinks]
    for listener in joined:
        await rig.relay.leave(listener)
    left = [len(sink.frames) for sink in sinks]
    await wait_until(lambda: rig.relay._catching == {})
    await thread.say(3)
    watcher = Sink()
    await rig.listen(thread, watcher, thread.end)
    assert [len(sink.frames) for sink in sinks] == left
    rig.relay.place(joined[0], START, "reset")  # comes too late
    assert rig.relay._catching == {}


async def test_ten_thousand_idle_threads_cost_one_query_a_look(
    rig: RelayRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = [await rig.thread(f"thr_{n}") for n in range(3)]
    looks = 0
    look_once = rig.relay._look_once

    async def counted() -> None:
        nonlocal looks
        looks += 1
        await look_once()

    monkeypatch.setattr(rig.relay, "_look_once", counted)
    idle = []
    for number in range(10_000):
        thread = threads[0].key if number == 0 else UUID(int=number)
        listener = Listener(Sink(), thread, "thr_1")
        listener.placed = listener.live = True
        idle.append(rig.relay.join(listener))
    for start in range(0, len(idle), 500):
        await asyncio.gather(*idle[start : start + 500])
    monkeypatch.setattr(relay, "LOOK_EVERY_S", 0.05)
    await wait_until(lambda: looks > 0, within_s=60)
    begun, rig.statements = looks, 0
    await wait_until(lambda: looks >= begun + 5, within_s=60)
    assert rig.statements <= looks - begun + 1
    assert rig.relay._catching == {}


@pytest.mark.parametrize(
    "payload",
    [b"", b"hello", b"0-0 1 1-2 1\n\xff\xfe", b"0-0 1 1-2 2\n{}", b"0-0 1 x 1\n{}"],
)
async def test_nonsense_on_a_channel_harms_nobody(rig: RelayRig, payload: bytes) -> None:
    thread, sink = await rig.thread(), Sink()
    await rig.listen(thread, sink)
    await thread.begin()
    await wait_until(lambda: sink.ids == ["1-1"])
    await rig.redis.publish(events_key(thread.key), payload)
    await thread.say(2)
    await wait_until(lambda: sink.ids == ids(1, 1, 3))


@pytest.mark.parametrize(
    ("cursor", "covered"),
    [
        ((0, 0), True),
        ((1, 0), True),
        ((1, 1), True),
        ((1, 3), True),
        ((1, 4), False),
        ((2, 0), False),
        ((1, 10**9), False),
    ],
)
async def test_whether_the_stream_covers_a_cursor(
    rig: RelayRig, cursor: tuple[int, int], covered: bool
) -> None:
    thread = await rig.thread()
    await thread.begin()
    await thread.say(2)
    assert await rig.relay.covers(thread.key, Position(*cursor)) is covered


async def test_a_trimmed_stream_does_not_cover_what_it_lost(rig: RelayRig) -> None:
    thread = await rig.thread()
    await thread.begin()
    await thread.say(8)
    await rig.redis.xtrim(events_key(thread.key), minid="1-5", approximate=False)
    asked = [START, Position(1, 0), Position(1, 3), Position(1, 4), Position(1, 5)]
    assert [await rig.relay.covers(thread.key, at) for at in asked] == [False] * 3 + [True] * 2
