"""The relay's one connection: lost, hung, gone with its Redis, and made anew."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from gateway.relay import reader, relay
from gateway.relay.listener import Listener
from shared.bus.connect import AWAY
from shared.errors import StoreAwayError
from shared.protocol.position import START
from tests.gateway.relay.rig import RelayRig, Sink, ids, own_valkey, running_relay
from tests.gateway.rig import wait_until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


# ---------------------------------------------------------------------- the connection
@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """PINGs and their limits in a hundredth of the time."""
    monkeypatch.setattr(reader, "PING_EVERY_S", 0.05)
    monkeypatch.setattr(reader, "DEAD_AFTER_S", 0.4)
    monkeypatch.setattr(reader, "CONNECT_WITHIN_S", 0.3)
    monkeypatch.setattr(reader, "LONGEST_PAUSE_S", 0.1)
    monkeypatch.setattr(relay, "READY_WITHIN_S", 0.3)
    monkeypatch.setattr(relay, "LOOK_EVERY_S", 0.05)


async def test_a_relay_without_a_single_channel_stays_connected(
    impatient: None, rig: RelayRig
) -> None:
    connection, begun = rig.relay._reader._connection, time.monotonic()
    await wait_until(lambda: time.monotonic() - begun > 2 * reader.DEAD_AFTER_S)
    assert rig.relay._reader._connection is connection
    assert rig.relay.ready()
    assert rig.relay.lag_s() is not None


async def test_a_channel_asked_for_during_a_reconnect_is_subscribed(rig: RelayRig) -> None:
    class Notices:
        def __init__(self) -> None:
            self.heard: list[bytes] = []

        def notice(self, payload: bytes) -> None:
            self.heard.append(payload)

    notices = [Notices() for _ in range(20)]
    killing = rig.lose_the_connection()
    asking = [rig.relay.listen_to(f"user:{{{n}}}", one) for n, one in enumerate(notices)]
    await asyncio.gather(killing, *asking)

    async def all_heard() -> bool:
        for number in range(len(notices)):
            await rig.redis.publish(f"user:{{{number}}}", b"{}")
        return all(one.heard for one in notices)

    await wait_until(all_heard)
    for number, one in enumerate(notices):
        await rig.relay.ignore(f"user:{{{number}}}", one)


async def test_a_redis_that_hangs_is_noticed_and_sql_serves_until_it_is_back(
    impatient: None, database_url: str, tmp_path: Path
) -> None:
    with own_valkey(tmp_path) as (url, process):
        async with running_relay(url, database_url) as rig:
            thread, sink = await rig.thread(), Sink()
            await rig.listen(thread, sink)
            await thread.begin()
            await wait_until(lambda: sink.ids == ["1-1"])
            process.send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            await wait_until(lambda: not rig.relay.ready())
            late = Listener(Sink(), thread.key, "thr_1")
            with pytest.raises(StoreAwayError):
                await rig.relay.join(late)
            await rig.relay.listen_to("user:{1}", _Nobody())
            assert time.monotonic() - begun < 3
            await thread.say(3, heard=False)
            await thread.store(2, 4)
            await wait_until(lambda: sink.ids == ["1-1", "1-4"], within_s=60)
            process.send_signal(signal.SIGCONT)
            begun = time.monotonic()
            await wait_until(rig.relay.ready)
            await thread.begin()
            await wait_until(lambda: sink.ids[-1] == "2-1")
            assert time.monotonic() - begun < 5
            assert sink.text == thread.text_from()


async def test_a_redis_that_dies_is_found_again(
    impatient: None, database_url: str, tmp_path: Path
) -> None:
    with own_valkey(tmp_path) as (url, process):
        async with running_relay(url, database_url) as rig:
            thread, sink = await rig.thread(), Sink()
            await rig.listen(thread, sink)
            process.kill()
            await wait_until(lambda: not rig.relay.ready())
            with pytest.raises(AWAY):
                await rig.redis.ping()
            with pytest.raises(StoreAwayError):
                await rig.relay.join(Listener(Sink(), thread.key, "thr_1"))
            assert len(rig.relay._feeds[thread.key].listeners) == 1


class _Nobody:
    def notice(self, payload: bytes) -> None: ...


async def test_a_lost_pub_sub_connection_is_made_anew_and_what_was_missed_is_read(
    rig: RelayRig,
) -> None:
    thread, sink = await rig.thread(), Sink()
    await rig.listen(thread, sink)
    await thread.begin()
    for _ in range(5):
        await thread.say(20)
        await rig.lose_the_connection()
        await thread.say(20)
    await wait_until(lambda: len(sink.frames) == 201)
    assert sink.ids == ids(1, 1, 201)


async def test_a_listener_that_has_no_cursor_yet_is_not_caught_up_by_a_reconnect(
    rig: RelayRig,
) -> None:
    thread, sink, other = await rig.thread(), Sink(), Sink()
    await thread.begin()
    waiting = Listener(sink, thread.key, "thr_1")
    await rig.relay.join(waiting)
    watched = await rig.listen(thread, other)
    caught_up: list[str] = []
    watched.on_live = lambda: caught_up.append("again")
    await rig.lose_the_connection()
    await wait_until(lambda: caught_up)
    assert (sink.frames, waiting.live) == ([], False)
    rig.relay.place(waiting, START, "test")
    await wait_until(lambda: waiting.live)
    assert sink.ids == ["1-1"]
