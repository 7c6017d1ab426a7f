"""The gateway before the naive workers: the same frames, relayed from Redis streams as they are."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import websockets
from websockets.asyncio.server import ServerConnection, serve

from stack.resp import RespConnection

#: How often a relay looks for new events.
LOOK_EVERY_S = 0.05


class NaiveGateway:
    """Accepts runs into a stream, and sends on what workers publish."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Its port, for the block."""
        async with serve(
            self._meet,
            "127.0.0.1",
            0,
            subprotocols=[websockets.Subprotocol("baton.v1")],
            ping_interval=None,
        ) as server:
            port: int = next(iter(server.sockets)).getsockname()[1]
            yield port

    async def _meet(self, socket: ServerConnection) -> None:
        relays: dict[str, asyncio.Task[None]] = {}

        def relay(thread: str, after: str) -> None:
            if thread not in relays:
                relays[thread] = asyncio.create_task(self._relay(socket, thread, after))

        with RespConnection(self._url) as redis:
            try:
                async for text in socket:
                    frame = json.loads(text)
                    if frame["op"] == "subscribe":
                        relay(frame["threadId"], frame["after"])
                    elif frame["op"] == "run":
                        relay(frame["input"]["threadId"], "0-0")
                        run = json.dumps(frame["input"])
                        await asyncio.to_thread(redis.call, "XADD", "runs", "*", "input", run)
                    await socket.send(json.dumps({"op": "ack", "id": frame["id"]}))
            except websockets.ConnectionClosed:
                pass
            finally:
                for task in relays.values():
                    task.cancel()
                await asyncio.gather(*relays.values(), return_exceptions=True)

    async def _relay(self, socket: ServerConnection, thread: str, after: str) -> None:
        with RespConnection(self._url) as redis, suppress(websockets.ConnectionClosed):
            while True:
                for id_, event in await asyncio.to_thread(events_after, redis, thread, after):
                    after = id_
                    frame = {"op": "event", "threadId": thread, "id": id_, "event": event}
                    await socket.send(json.dumps(frame))
                await asyncio.sleep(LOOK_EVERY_S)


def events_after(redis: RespConnection, thread: str, after: str) -> list[tuple[str, Any]]:
    """What workers have published to a thread after this id."""
    found: Any = redis.call("XRANGE", f"events:{thread}", f"({after}", "+")
    return [(id_.decode(), json.loads(fields[3])) for id_, fields in found]
