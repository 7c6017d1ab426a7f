"""The demo model, which also notes when the first bytes of each answer left it.

`GET /_bench/moments` gives, by run, for each of its calls in turn, when the request was read and
when the first byte of its answer was written (nanoseconds of the machine's monotonic clock, which
all processes share).
"""

import argparse
import re
import time
from typing import Any

import orjson
import uvicorn

from stack.demo_model import asgi
from stack.demo_model.app import DemoModel
from stack.demo_model.asgi import Message, Receive, Scope, Send

_RUN = re.compile(rb"bench-([A-Za-z0-9_-]+) ")


class TimedModel:
    """The ASGI app around the demo model."""

    def __init__(self) -> None:
        self._model = DemoModel()
        self._moments: dict[str, list[tuple[int, int]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] == "/_bench/moments":
            moments, self._moments = self._moments, {}
            await asgi.respond_json(send, orjson.dumps(moments))
        elif scope["path"] == "/v1/responses":
            await self._timed(scope, receive, send)
        else:
            await self._model(scope, receive, send)

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.monotonic_ns()
        run: str | None = None
        answered = False

        async def reading() -> Message:
            nonlocal run
            message = await receive()
            # Earlier messages of the conversation have such a word too: the last one counts.
            if found := _RUN.findall(message.get("body", b"")):
                run = found[-1].decode()
            return message

        async def sending(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.body" and run and not answered:
                answered = True
                self._moments.setdefault(run, []).append((begun, time.monotonic_ns()))
            await send(message)

        await self._model(scope, reading, sending)


def main() -> None:
    """Serve on a port until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    options: Any = parser.parse_args()
    uvicorn.run(
        TimedModel(),
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        lifespan="off",
        log_level="error",
        access_log=False,
        backlog=4096,
        timeout_keep_alive=120,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
