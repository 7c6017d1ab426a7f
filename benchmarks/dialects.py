"""How a client starts a run and knows its first token and its end: at Baton, and at the floors."""

from typing import Any, Protocol

import orjson


class Dialect(Protocol):
    """What the load needs to know of a server's frames."""

    path: str
    subprotocols: list[str]
    #: Threads that a client uses in turn, so that no conversation grows long.
    threads: int

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


class BatonDialect:
    """`baton.v1`, with a key."""

    path = "/realtime"
    threads = 10

    def __init__(self, key: str, agent: str) -> None:
        self.subprotocols = ["baton.v1", f"bearer.{key}"]
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


class FloorDialect:
    """What both floors speak: the text goes in, `delta` frames come out, then `end`."""

    threads = 1
    subprotocols: list[str] = []  # noqa: RUF012 - never changed

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


def dialect_of(spec: dict[str, Any], client: int) -> Dialect:
    """The dialect of a client; keys of people are dealt out in turn, floors need none."""
    keys: list[str] = spec["keys"]
    agent: str = spec["agent"]
    return BatonDialect(keys[client % len(keys)], agent) if keys else FloorDialect(agent)
