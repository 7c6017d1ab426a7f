"""The little of ASGI that this server needs; a framework would cost more than the answers do."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def read_body(receive: Receive) -> bytes:
    """The whole body of the request."""
    chunks: list[bytes] = []
    more = True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


async def disconnected(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def header(scope: Scope, wanted: bytes) -> str | None:
    """A header's value, if it is there."""
    found = (value for name, value in scope["headers"] if name == wanted)
    return next((value.decode("latin-1") for value in found), None)


def has_bearer_key(scope: Scope) -> bool:
    """Whether an Authorization header carries any bearer key."""
    scheme, _, key = (header(scope, b"authorization") or "").partition(" ")
    return scheme.lower() == "bearer" and bool(key.strip())


async def start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """Send the status line and headers."""
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def write(send: Send, body: bytes, *, more: bool = True) -> None:
    """Send a part of the body."""
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def respond_json(
    send: Send, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> None:
    """Send a whole JSON answer."""
    length = {"content-type": "application/json", "content-length": str(len(body))}
    await start(send, status, length | dict(headers or {}))
    await write(send, body, more=False)
