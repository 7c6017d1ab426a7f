"""What waits to go out of one socket: bounded, in order, and over when the client is."""

import asyncio

import pytest

from gateway.outgoing import BUFFER_BYTES, MOST_BYTES, STUCK_S, Outgoing
from shared.protocol.codes import Close

pytestmark = pytest.mark.asyncio

FULL = "x" * BUFFER_BYTES


class Client:
    """Takes one frame after another while it reads; a wire pauses as soon as it does not."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.closed: list[Close] = []
        self.paused = False
        self.left = 0
        self.out = Outgoing(self, self._close)

    def send(self, text: str) -> None:
        self.got.append(text)

    def unsent(self) -> int:
        return self.left

    def reads(self) -> None:
        self.paused = False
        self.out.writable()

    def _close(self, code: Close, why: str) -> None:
        self.closed.append(code)


def slow() -> Client:
    """One that has not taken what came before."""
    client = Client()
    client.paused = True
    return client


async def test_frames_go_straight_to_a_client_that_reads_and_nothing_is_kept() -> None:
    client = Client()
    for number in range(100):
        client.out.put(str(number))
    assert client.got == [str(number) for number in range(100)]
    assert client.out._frames is None
    await client.out.drained()  # nothing to wait for


async def test_frames_that_waited_go_out_in_order_as_far_as_the_client_takes_them() -> None:
    class Sip(Client):
        def send(self, text: str) -> None:
            super().send(text)
            self.paused = len(self.got) % 2 == 0

    client = Sip()
    for name in "abcde":
        client.out.put(name)
    assert client.got == ["a", "b"]
    client.reads()
    assert client.got == ["a", "b", "c", "d"]
    client.out.put("f")
    client.reads()
    client.reads()
    assert "".join(client.got) == "abcdef"


async def test_there_is_room_for_64_kib_besides_what_is_being_sent() -> None:
    client = slow()
    assert client.out.room()
    client.out.put(FULL[1:])
    assert client.out.room()
    client.out.put("x")
    assert not client.out.room()
    client.reads()
    assert client.out.room()
    assert client.closed == []


async def test_one_frame_may_be_larger_than_all_of_the_buffer() -> None:
    """A long conversation's reset, or a large result of a tool."""
    client = slow()
    large = "x" * (3 * MOST_BYTES)
    for frame in ("ack", large, "pong"):
        client.out.put(frame)
    assert not client.out.room()
    client.reads()
    assert (client.got, client.closed) == (["ack", large, "pong"], [])


async def test_a_client_that_asks_without_reading_is_ended() -> None:
    client = slow()
    for _ in range(MOST_BYTES // BUFFER_BYTES + 1):
        client.out.put(FULL)
    assert client.closed == [Close.TOO_SLOW]


async def test_whoever_waits_goes_on_when_the_client_has_taken_everything() -> None:
    client = slow()
    client.out.put("hello")
    waiting = asyncio.create_task(client.out.drained())
    await asyncio.sleep(0)
    assert not waiting.done()
    client.reads()
    await asyncio.wait_for(waiting, 1)


async def test_a_client_that_takes_nothing_for_too_long_is_ended() -> None:
    client = slow()
    client.left = 100_000
    client.out.look(10)
    client.out.look(10 + STUCK_S - 1)
    assert client.closed == []
    client.out.look(10 + STUCK_S)
    assert client.closed == [Close.TOO_SLOW]


async def test_a_client_that_takes_little_by_little_stays() -> None:
    client = slow()
    for minute in range(10):
        client.left = 100_000 - minute
        client.out.look(minute * (STUCK_S - 1))
    client.reads()
    client.paused, client.left = True, 200_000  # the next frames
    client.out.look(10 * STUCK_S)
    assert client.closed == []


async def test_after_the_end_nothing_goes_out_and_nobody_waits() -> None:
    client = slow()
    client.out.put("hello")
    waiting = asyncio.create_task(client.out.drained())
    await asyncio.sleep(0)
    client.out.stop()
    await asyncio.wait_for(waiting, 1)
    client.out.put("world")
    client.reads()
    client.out.look(0)
    client.out.look(STUCK_S)
    assert (client.got, client.closed) == ([], [])
