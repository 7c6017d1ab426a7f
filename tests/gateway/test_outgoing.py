"""What waits to go out of one socket: bounded, in order, and over when the client is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from gateway import outgoing
from gateway.outgoing import BUFFER_BYTES, MOST_BYTES, Outgoing
from shared.protocol.codes import Close
from tests.gateway.rig import wait_until

pytestmark = pytest.mark.asyncio

FULL = "x" * BUFFER_BYTES


class Client:
    """Takes frames while it reads; `fails` makes sending raise."""

    def __init__(self, fails: Callable[[], Exception] | None = None) -> None:
        self.got: list[str] = []
        self.closed: list[Close] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self._fails = fails
        self.out = Outgoing(self._send, self._close)

    async def _send(self, message: Any) -> None:
        await self.reads.wait()
        if self._fails:
            raise self._fails()
        self.got.append(message["text"])

    def _close(self, code: Close, why: str) -> None:
        self.closed.append(code)


async def test_frames_go_out_in_order_and_no_writer_stays() -> None:
    client = Client()
    for number in range(100):
        client.out.put(str(number))
    await client.out.drained()
    assert client.got == [str(number) for number in range(100)]
    assert client.out._writer is None
    await client.out.drained()  # nothing to wait for


async def test_there_is_room_for_64_kib_besides_the_frame_being_sent() -> None:
    client = Client()
    client.reads.clear()
    client.out.put("being sent")
    await asyncio.sleep(0)
    assert client.out.room()
    client.out.put(FULL[1:])
    assert client.out.room()
    client.out.put("x")
    assert not client.out.room()
    client.reads.set()
    await client.out.drained()
    assert client.out.room()
    assert client.closed == []


async def test_one_frame_may_be_larger_than_all_of_the_buffer() -> None:
    """A long conversation's reset, or a large result of a tool."""
    client = Client()
    client.reads.clear()
    large = "x" * (3 * MOST_BYTES)
    for frame in ("ack", large, "pong"):
        client.out.put(frame)
    assert not client.out.room()
    client.reads.set()
    await client.out.drained()
    assert (client.got, client.closed) == (["ack", large, "pong"], [])


async def test_a_client_that_asks_without_reading_is_ended() -> None:
    client = Client()
    client.reads.clear()
    for _ in range(MOST_BYTES // BUFFER_BYTES + 2):
        client.out.put(FULL)
    assert set(client.closed) == {Close.TOO_SLOW}
    client.out.stop()


async def test_a_client_that_takes_nothing_for_too_long_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outgoing, "STUCK_S", 0.01)
    client = Client()
    client.reads.clear()
    client.out.put("hello")
    await client.out.drained()
    assert client.closed == [Close.TOO_SLOW]


@pytest.mark.parametrize("error", [OSError, RuntimeError, lambda: WebSocketDisconnect(1006)])
async def test_a_client_that_is_gone_leaves_no_error_behind(error: Callable[[], Exception]) -> None:
    client = Client(error)
    client.out.put("hello")
    await client.out.drained()
    assert client.closed == [Close.RESTARTING]


async def test_after_the_end_nothing_goes_out_and_nobody_waits() -> None:
    client = Client()
    client.reads.clear()
    client.out.put("hello")
    waiting = asyncio.create_task(client.out.drained())
    await asyncio.sleep(0)
    client.out.stop()
    await asyncio.wait_for(waiting, 1)
    client.out.put("world")
    await wait_until(lambda: client.out._writer is None)
    assert (client.got, client.closed) == ([], [])
