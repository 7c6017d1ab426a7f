"""HTTP for tools: a client for each call, which says which call it is.

Requests that change something carry `Idempotency-Key: <the call's key>-<n>`, n counting them from 1
within the call. So a tool that is run again sends the same keys again, and a service that knows the
header does nothing twice. All carry the trace of the run, `traceparent`.
"""

import itertools

import httpx

from shared.telemetry.tracecontext import HEADER, TRACE

#: What changes nothing (RFC 9110, section 9.2.1) needs no key.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
#: The tool's own time ends what takes longer in sum.
TIMEOUT = httpx.Timeout(10, connect=5)


class _Shared(httpx.AsyncBaseTransport):
    """The process's connections, which outlive the client of a call."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        return await self._inner.handle_async_request(request)


def http_client(connections: httpx.AsyncBaseTransport, key: str) -> httpx.AsyncClient:
    """A client for the call with this idempotency key, with cookies of its own."""
    numbers = itertools.count(1)

    async def add_key(request: httpx.Request) -> None:
        if request.method not in _SAFE and "idempotency-key" not in request.headers:
            request.headers["Idempotency-Key"] = f"{key}-{next(numbers)}"

    async def add_trace(request: httpx.Request) -> None:
        if (trace := TRACE.get()) is not None:
            request.headers.setdefault(HEADER, trace.header)

    return httpx.AsyncClient(
        transport=_Shared(connections),
        timeout=TIMEOUT,
        event_hooks={"request": [add_key, add_trace]},
    )
