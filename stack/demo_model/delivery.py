"""Sends a rendered answer at its pace, or lets it go wrong the way it was asked to."""

import asyncio

from stack.demo_model import asgi
from stack.demo_model.asgi import Receive, Send
from stack.demo_model.rendering import Rendered
from stack.demo_model.reply import Fault, Reply

_EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}

#: Unpaced deltas are joined into writes of about this size: a write costs far more than a delta.
_WRITE_SIZE = 64 * 1024

#: How many deltas go out before `cut` and `hang_mid` strike; short answers lose at least one.
_DELTAS_BEFORE_FAULT = 3

_NONSENSE = (
    b"event: response.created\ndata: {not json at all\n\n"
    b"data: 42\n\n\x00\xff\xfe garbage without a field name\n\ndata: [1, 2\n\n"
)
_LM_STUDIO_ERROR = b'{"error":"Unexpected endpoint or method. (POST /v1/responses)"}'


class ConnectionCutError(Exception):
    """Raised out of the app so that the server closes the connection in the middle of an answer."""


async def deliver(
    send: Send, receive: Receive, rendered: Rendered, reply: Reply, *, stream: bool
) -> None:
    """Send the answer; stops early when the client goes away."""
    if _is_instant(reply):
        await _send(send, rendered, reply, stream=stream)
        return
    sending = asyncio.create_task(_send(send, rendered, reply, stream=stream), name="send answer")
    watching = asyncio.create_task(asgi.disconnected(receive), name="watch client")
    try:
        await asyncio.wait({sending, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watching.cancel()
        sending.cancel()
    if sending.done():
        sending.result()


def _is_instant(reply: Reply) -> bool:
    """Whether the answer goes out so fast that a vanished client does not matter."""
    takes_time = reply.tokens_per_s or reply.delay_s
    return not takes_time and reply.fault not in {Fault.HANG, Fault.HANG_MID}


async def _send(send: Send, rendered: Rendered, reply: Reply, *, stream: bool) -> None:
    match reply.fault:
        case Fault.HANG:
            await _forever()
        case Fault.EMPTY:
            await asgi.respond_json(send, _LM_STUDIO_ERROR)
        case _ if stream:
            await _stream(send, rendered, reply)
        case _:
            await _plain(send, rendered, reply)


async def _plain(send: Send, rendered: Rendered, reply: Reply) -> None:
    pace = reply.tokens_per_s
    await asyncio.sleep(reply.delay_s + (len(rendered.ticks) / pace if pace else 0.0))
    match reply.fault:
        case Fault.HANG_MID:
            await _forever()
        case Fault.CUT:
            await _start_and_cut(send, rendered.plain)
        case Fault.NONSENSE:
            await asgi.respond_json(send, _NONSENSE)
        case Fault.EMPTY_STREAM:
            await asgi.respond_json(send, rendered.plain_empty)
        case _:
            await asgi.respond_json(send, rendered.plain)


async def _start_and_cut(send: Send, body: bytes) -> None:
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    await asgi.start(send, 200, headers)
    await asgi.write(send, body[: len(body) // 2])
    raise ConnectionCutError


async def _stream(send: Send, rendered: Rendered, reply: Reply) -> None:
    await asgi.start(send, 200, _EVENT_STREAM)
    ticks, tail = rendered.ticks, rendered.tail
    match reply.fault:
        case Fault.NONSENSE:
            await asgi.write(send, _NONSENSE, more=False)
            return
        case Fault.EMPTY_STREAM:
            ticks, tail = [], rendered.empty_tail
        case Fault.CUT | Fault.HANG_MID:
            ticks = ticks[: min(_DELTAS_BEFORE_FAULT, len(ticks) - 1)]
    head = rendered.head
    if reply.delay_s:
        await asgi.write(send, head)
        await asyncio.sleep(reply.delay_s)
        head = b""
    if reply.tokens_per_s:
        await _paced(send, head, ticks, reply.tokens_per_s)
        head, ticks = b"", []
    await _end(send, [head, *ticks], tail, reply.fault)


async def _end(send: Send, rest: list[bytes], tail: bytes, fault: Fault | None) -> None:
    if fault in {Fault.CUT, Fault.HANG_MID}:
        await asgi.write(send, b"".join(rest))
    if fault is Fault.CUT:
        raise ConnectionCutError
    if fault is Fault.HANG_MID:
        await _forever()
    await _at_once(send, [*rest, tail])


async def _paced(send: Send, head: bytes, ticks: list[bytes], tokens_per_s: float) -> None:
    """One write per delta; after a stall, those that are due by now in one."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    sent = 0
    while sent < len(ticks):
        # At least one: timers may fire a millisecond early, and asking again would spin until then.
        due = max(int((loop.time() - started) * tokens_per_s), sent) + 1
        await asgi.write(send, head + b"".join(ticks[sent:due]))
        sent, head = due, b""
        await asyncio.sleep(started + sent / tokens_per_s - loop.time())


async def _at_once(send: Send, ticks: list[bytes]) -> None:
    """Everything in as few writes as a careful server would use."""
    waiting: list[bytes] = []
    size = 0
    for tick in ticks:
        waiting.append(tick)
        size += len(tick)
        if size >= _WRITE_SIZE:
            await asgi.write(send, b"".join(waiting))
            waiting.clear()
            size = 0
    await asgi.write(send, b"".join(waiting), more=False)


async def _forever() -> None:
    """Until the client goes away, which cancels this."""
    await asyncio.get_running_loop().create_future()
