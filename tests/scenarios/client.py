"""A person's client over a real socket: signs in, sends ops, keeps every frame it got."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import websockets

from shared.protocol.ids import new_id
from shared.protocol.position import Position, parse_position

TERMINAL = ("RUN_FINISHED", "RUN_ERROR")
#: For whatever has to come: on a busy machine a handshake alone may take many seconds.
PATIENCE_S = 60

PING_EVERY_S = 15
PING = "keep-alive"

Frame = dict[str, Any]


class Person:
    """Somebody signed in at one gateway; `http` for REST, `socket()` for the rest."""

    def __init__(self, url: str, email: str) -> None:
        self.url, self.email = url, email
        self.http = httpx.AsyncClient(
            base_url=url, headers={"Origin": url}, trust_env=False, timeout=PATIENCE_S
        )

    async def sign_in(self) -> "Person":
        answer = await self.http.post("/auth/dev-login", json={"email": self.email})
        answer.raise_for_status()
        return self

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())

    @asynccontextmanager
    async def socket(self, *, url: str | None = None) -> AsyncIterator["Socket"]:
        """A socket at this or another gateway (sign-ins hold at all of them)."""
        where = (url or self.url).replace("http", "ws") + "/realtime"
        async with websockets.connect(
            where,
            subprotocols=[websockets.Subprotocol("baton.v1")],
            additional_headers={"Cookie": self.cookie},
            origin=websockets.Origin(url or self.url),
            max_size=None,
            proxy=None,
            open_timeout=PATIENCE_S,
        ) as raw:
            yield Socket(raw)

    async def get(self, path: str) -> Any:
        answer = await self.http.get(path)
        answer.raise_for_status()
        return answer.json()


class Socket:
    """A socket that remembers what it was sent."""

    def __init__(self, raw: websockets.ClientConnection) -> None:
        self.raw = raw
        self.frames: list[Frame] = []
        self._pinged = time.monotonic()

    async def send(self, **fields: Any) -> str:
        fields.setdefault("id", new_id("op"))
        await self.raw.send(json.dumps(fields))
        id_: str = fields["id"]
        return id_

    async def next(self) -> Frame:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await self._keep_alive()
                with suppress(TimeoutError):
                    async with asyncio.timeout(PING_EVERY_S):
                        frame: Frame = json.loads(await self.raw.recv())
                        if frame.get("id") != PING:
                            break
        self.frames.append(frame)
        return frame

    async def _keep_alive(self) -> None:
        if time.monotonic() - self._pinged > PING_EVERY_S:
            self._pinged = time.monotonic()
            await self.raw.send(json.dumps({"op": "ping", "id": PING}))

    async def until(self, wanted: Callable[[Frame], bool]) -> Frame:
        while True:
            frame = await self.next()
            if wanted(frame):
                return frame

    async def answer(self, id_: str) -> Frame:
        """The `ack` or `error` to an op."""
        return await self.until(lambda frame: frame.get("id") == id_ and frame["op"] != "event")

    async def say(self, thread: str, text: str, **fields: Any) -> Frame:
        """Send a message; the answer to the op."""
        message = {"id": new_id("usr"), "role": "user", "content": text}
        given = {"threadId": thread, "runId": new_id("run"), "messages": [message]}
        fields.setdefault("agent", "Assistant")
        return await self.answer(await self.send(op="run", input=given, **fields))

    async def finished(self) -> Frame:
        """The next terminal event."""
        return await self.until(is_terminal)

    async def ends(self, *runs: str) -> list[Frame]:
        """RUN_FINISHED of these runs, in the order in which they come or have come already."""
        while len(found := [one for one in self.events() if _finishes(one, runs)]) < len(runs):
            await self.next()
        return found

    def events(self) -> list[Frame]:
        return [frame for frame in self.frames if frame["op"] == "event"]


async def closed(socket: Socket) -> int:
    """The code of the close that comes."""
    with suppress(websockets.ConnectionClosed):
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await socket.raw.recv()
    assert socket.raw.close_code is not None
    return socket.raw.close_code


def is_terminal(frame: Frame) -> bool:
    return frame["op"] == "event" and frame["event"]["type"] in TERMINAL


def _finishes(frame: Frame, runs: Collection[str]) -> bool:
    return frame["event"]["type"] == "RUN_FINISHED" and frame["event"]["runId"] in runs


def kinds(frames: list[Frame]) -> list[str]:
    """The types of events, equal neighbours as one."""
    found: list[str] = []
    for frame in frames:
        if not found or found[-1] != frame["event"]["type"]:
            found.append(frame["event"]["type"])
    return found


def positions(frames: list[Frame]) -> list[Position]:
    found = [parse_position(frame["id"]) for frame in frames]
    assert None not in found
    return [one for one in found if one]


def assert_gapless(frames: list[Frame]) -> None:
    """Ids rise; inside a fence by one, and each fence begins with 1."""
    last = Position(0, 0)
    for at in positions(frames):
        follows = last.precedes(at) or (at.fence > last.fence and at.seq == 1)
        assert follows, f"{at} does not follow {last}"
        last = at


def text_of(frames: list[Frame]) -> str:
    return "".join(
        frame["event"].get("delta", "")
        for frame in frames
        if frame["event"]["type"] == "TEXT_MESSAGE_CHUNK"
    )


def joined(frames: list[Frame]) -> list[tuple[str, Frame]]:
    """Events as SQL keeps them: adjacent deltas of one message joined under the last one's id."""
    rows: list[tuple[str, Frame]] = []
    for frame in frames:
        event = frame["event"]
        last = rows[-1] if rows else None
        if last and "delta" in event and _same_message(last[1], event):
            rows[-1] = (frame["id"], last[1] | {"delta": last[1]["delta"] + event["delta"]})
        else:
            rows.append((frame["id"], event))
    return rows


def _same_message(one: Frame, other: Frame) -> bool:
    keys = set(one) | set(other)
    return all(one.get(key) == other.get(key) for key in keys - {"delta"})
