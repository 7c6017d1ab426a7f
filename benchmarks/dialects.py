"""How a client starts a run and knows its first token and its end: at Baton, and at the floors."""

from collections.abc import Callable
from typing import Any, Protocol

import orjson

from benchmarks.raw_http import connect_http
from benchmarks.raw_socket import connect

Received = Callable[[bytes], None]
Lost = Callable[[str], None]


class Connection(Protocol):
    """What a client talks over."""

    lost: Lost

    def send(self, payload: bytes) -> None:
        """Send a frame."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class Dialect(Protocol):
    """What the load needs to know of a server's frames."""

    #: Threads that a client uses in turn, so that no conversation grows long.
    threads: int
    #: Whether the server wants to hear of clients that say nothing.
    pings: bool

    async def connect(self, host: str, port: int, received: Received, lost: Lost) -> Connection:
        """Open a connection."""
        ...

    def hello(self) -> bytes | None:
        """What the server says before a client may begin; `None` when it says nothing."""
        ...

    def run(self, *, run: str, thread: str, text: str) -> bytes:
        """The frame that starts a run."""
        ...

    def is_token(self, frame: bytes) -> bool:
        """Whether a frame brings text of the model."""
        ...

    def is_end(self, frame: bytes) -> bool:
        """Whether a frame says that the run has ended well."""
        ...

    def is_failure(self, frame: bytes) -> bool:
        """Whether something went wrong."""
        ...


class _OverSocket:
    """A WebSocket."""

    path: str
    subprotocols: tuple[str, ...] = ()

    async def connect(self, host: str, port: int, received: Received, lost: Lost) -> Connection:
        """See Dialect."""
        return await connect(host, port, self.path, self.subprotocols, received, lost)


class BatonDialect(_OverSocket):
    """`baton.v1`, with a key."""

    path = "/realtime"
    threads = 10
    pings = True

    def __init__(self, key: str, agent: str) -> None:
        self.subprotocols = ("baton.v1", f"bearer.{key}")
        self._agent = agent

    def hello(self) -> bytes:
        """See Dialect."""
        return b'"op":"welcome"'

    def run(self, *, run: str, thread: str, text: str) -> bytes:
        """See Dialect."""
        message = {"id": f"m-{run}", "role": "user", "content": text}
        said = {"threadId": thread, "runId": run, "messages": [message]}
        return orjson.dumps({"op": "run", "id": run, "agent": self._agent, "input": said})

    def is_token(self, frame: bytes) -> bool:
        """See Dialect."""
        return b'"TEXT_MESSAGE_CHUNK"' in frame

    def is_end(self, frame: bytes) -> bool:
        """See Dialect."""
        return b'"RUN_FINISHED"' in frame and b'"success"' in frame

    def is_failure(self, frame: bytes) -> bool:
        """See Dialect."""
        return b'"RUN_ERROR"' in frame or b'"op":"error"' in frame or b'"cancelled"' in frame


class FloorDialect(_OverSocket):
    """What both floors speak: the text goes in, `delta` frames come out, then `end`."""

    threads = 1
    pings = False

    def __init__(self, agent: str) -> None:
        self.path = f"/chat/{agent}"

    def hello(self) -> None:
        """See Dialect."""

    def run(self, *, run: str, thread: str, text: str) -> bytes:  # noqa: ARG002
        """See Dialect."""
        return text.encode()

    def is_token(self, frame: bytes) -> bool:
        """See Dialect."""
        return frame.startswith(b'{"type":"delta"')

    def is_end(self, frame: bytes) -> bool:
        """See Dialect."""
        return frame.startswith(b'{"type":"end"')

    def is_failure(self, frame: bytes) -> bool:
        """See Dialect."""
        return frame.startswith(b'{"type":"error"')


class V1Dialect:
    """Streamed chat completions, of Baton (with a key) and of the bare SDK."""

    threads = 1
    pings = False

    def __init__(self, key: str | None, agent: str) -> None:
        self._headers = [f"Authorization: Bearer {key}"] if key else []
        self._agent = agent

    async def connect(self, host: str, port: int, received: Received, lost: Lost) -> Connection:
        """See Dialect."""
        path = "/v1/chat/completions"
        return await connect_http(host, port, path, self._headers, received, lost)

    def hello(self) -> None:
        """See Dialect."""

    def run(self, *, run: str, thread: str, text: str) -> bytes:  # noqa: ARG002
        """See Dialect."""
        messages = [{"role": "user", "content": text}]
        return orjson.dumps({"model": self._agent, "messages": messages, "stream": True})

    def is_token(self, frame: bytes) -> bool:
        """See Dialect; the first chunk says who speaks before it says nothing."""
        return b'{"content":' in frame

    def is_end(self, frame: bytes) -> bool:
        """See Dialect."""
        return frame == b"data: [DONE]"

    def is_failure(self, frame: bytes) -> bool:
        """See Dialect."""
        return frame.startswith(b'data: {"error"')


def dialect_of(spec: dict[str, Any], client: int) -> Dialect:
    """The dialect of a client; keys of people are dealt out in turn, floors need none."""
    keys: list[str] = spec["keys"]
    agent: str = spec["agent"]
    key = keys[client % len(keys)] if keys else None
    if spec["door"] == "v1":
        return V1Dialect(key, agent)
    return BatonDialect(key, agent) if key else FloorDialect(agent)
