"""An open socket over a transport made by hand: what goes, what is handed on, and when it ends."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from wsproto.connection import Connection, ConnectionType

from shared.web.wire import CUT_AFTER_S, FRAMES_PER_TURN, LAST_BYTES, PING_S, Wire, text_frame
from tests.gateway.raw import frame
from tests.gateway.rig import wait_until

pytestmark = pytest.mark.asyncio

#: A ping without a payload.
PING = b"\x89\x00"
PONG = frame(10, b"")
#: Later than any test may begin: a wire counts from its own beginning.
NOW = time.monotonic() + 1_000_000


class Transport(asyncio.Transport):
    """Takes everything, and says what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.closed = self.cut = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.cut = True


class Receiver:
    """Remembers; `holds` makes it take one message at a time."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.got: list[str | None] = []
        self.holds = False
        self.told: list[str] = []
        wire.receiver = self

    def received(self, message: str | None) -> None:
        self.got.append(message)
        if self.holds:
            self.wire.hold()

    def flooded(self) -> None:
        self.told.append("flooded")
        self.wire.close(4429, "too many")

    def writable(self) -> None:
        self.told.append("writable")

    def lost(self) -> None:
        self.told.append("lost")


class Opened:
    """A wire that is heard."""

    def __init__(self) -> None:
        self.transport, self.connections = Transport(), set[Any]()
        self.wire = Wire(self.transport, Connection(ConnectionType.SERVER), self.connections)
        self.receiver = Receiver(self.wire)
        self.wire.go_on()

    def written(self) -> bytes:
        found, self.transport.written = self.transport.written, b""
        return found


def closed_with(code: int) -> bytes:
    return code.to_bytes(2)


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
async def test_a_frame_is_its_length_and_its_text(size: int, head: bytes) -> None:
    assert text_frame("x" * size) == head + b"x" * size


async def test_a_frame_is_as_long_as_its_bytes() -> None:
    assert text_frame("é") == b"\x81\x02\xc3\xa9"


async def test_a_client_is_pinged_and_stays_while_it_answers() -> None:
    opened = Opened()
    opened.wire.look(NOW)
    assert opened.written() == PING
    opened.wire.data_received(PONG)
    opened.wire.look(NOW + PING_S - 1)
    assert opened.written() == b""
    opened.wire.look(NOW + PING_S)
    assert (opened.written(), opened.transport.closed) == (PING, False)


async def test_a_client_that_answers_no_ping_is_ended() -> None:
    opened = Opened()
    opened.wire.look(NOW)
    opened.wire.look(NOW + PING_S)
    assert closed_with(1011) in opened.written()
    assert opened.transport.closed


async def test_what_comes_while_it_is_held_waits_in_order_and_at_last_in_the_client() -> None:
    opened = Opened()
    opened.receiver.holds = True
    opened.wire.data_received(frame(1, b"a") + frame(1, b"b") + frame(9, b"?") + frame(1, b"c"))
    assert (opened.receiver.got, opened.transport.reading) == (["a"], True)
    opened.wire.data_received(frame(2, b"d"))
    assert (opened.receiver.got, opened.transport.reading) == (["a"], False)
    opened.wire.go_on()
    assert (opened.receiver.got, opened.transport.reading) == (["a", "b"], True)
    opened.receiver.holds = False
    opened.wire.go_on()
    assert opened.receiver.got == ["a", "b", "c", None]
    assert opened.written() == b"\x8a\x01?"


async def test_a_close_while_it_is_held_hears_the_answer_and_nothing_else() -> None:
    opened = Opened()
    opened.wire.hold()
    opened.wire.close(4429, "too many")
    opened.wire.data_received(frame(1, b"late") + frame(8, closed_with(4429)))
    assert (opened.receiver.got, opened.transport.closed) == ([], True)
    opened.wire.send("into the void")
    assert opened.written() == b"\x88\x0a" + closed_with(4429) + b"too many"


async def test_a_client_that_does_not_read_gets_no_pongs_and_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = Opened()
    monkeypatch.setattr("shared.web.wire.CUT_AFTER_S", CUT_AFTER_S / 1000)
    opened.wire.pause_writing()
    opened.wire.data_received(frame(9, b"?"))
    opened.wire.look(NOW)
    assert opened.written() == b""
    opened.wire.shutdown()
    assert opened.written() == b"\x88\x02" + closed_with(1012)
    await wait_until(lambda: opened.transport.cut)


async def test_what_comes_at_once_is_taken_in_slices_so_that_others_get_their_turn() -> None:
    opened = Opened()
    asked, answer = frame(9, b"?"), b"\x8a\x01?"
    opened.wire.data_received(asked * (FRAMES_PER_TURN + 2))
    assert opened.written() == answer * FRAMES_PER_TURN
    opened.wire.data_received(asked)
    assert (opened.written(), opened.transport.reading) == (b"", False)
    await asyncio.sleep(0)
    assert (opened.written(), opened.transport.reading) == (answer * 3, True)


FLOODS = {
    "pings": [frame(9, b"")],
    "pongs": [frame(10, b"")],
    "empty pieces": [frame(1, b"", fin=False), frame(0, b"", fin=False)],
    "messages": [frame(1, b"{}")],
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_a_client_that_sends_too_many_frames_of_any_kind_is_told_of_once(
    flood: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.web.wire.FRAMES_BURST", 20)
    opened = Opened()
    opened.wire.data_received(flood[0] + flood[-1] * 18)
    assert opened.receiver.told == []
    opened.wire.data_received(flood[-1] * 10)
    assert opened.receiver.told == ["flooded"]
    assert closed_with(4429) in opened.written()


async def test_frames_are_allowed_again_as_time_goes_by(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=NOW)
    monkeypatch.setattr("shared.web.wire.time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr("shared.web.wire.FRAMES_BURST", 20)
    monkeypatch.setattr("shared.web.wire.FRAMES_PER_S", 10.0)
    opened = Opened()
    for _ in range(5):
        opened.wire.data_received(PONG * 18)
        clock.now += 2
    assert opened.receiver.told == []


async def test_a_long_frame_that_comes_byte_by_byte_is_one_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.web.wire.FRAMES_BURST", 2)
    opened = Opened()
    for byte in frame(1, b"x" * 100):
        opened.wire.data_received(bytes((byte,)))
    assert (opened.receiver.got, opened.receiver.told) == (["x" * 100], [])


@pytest.mark.parametrize(
    "sent", [frame(9, b"") * 200, frame(1, b"x" * 2 * LAST_BYTES)[:LAST_BYTES]]
)
async def test_one_that_is_closed_and_sends_on_is_heard_no_more_and_cut_off(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.web.wire.CUT_AFTER_S", CUT_AFTER_S / 1000)
    opened = Opened()
    opened.wire.close(4401, "")
    opened.wire.data_received(sent)
    for _ in range(len(sent) // FRAMES_PER_TURN):
        await asyncio.sleep(0)
    assert not opened.transport.reading
    opened.wire.go_on()
    assert not opened.transport.reading
    await wait_until(lambda: opened.transport.cut)


async def test_one_that_is_closed_may_have_sent_something_before_its_own_close() -> None:
    opened = Opened()
    opened.wire.close(4401, "")
    opened.wire.data_received(frame(1, b"{}") * (FRAMES_PER_TURN + 9) + frame(8, closed_with(4401)))
    await asyncio.sleep(0)
    assert (opened.transport.closed, opened.transport.cut) == (True, False)


async def test_its_receiver_learns_of_room_and_once_of_the_end() -> None:
    opened = Opened()
    assert opened.connections == {opened.wire}
    opened.wire.pause_writing()
    opened.wire.resume_writing()
    opened.wire.connection_lost(None)
    opened.wire.connection_lost(None)
    assert opened.receiver.told == ["writable", "lost"]
    assert not opened.connections
