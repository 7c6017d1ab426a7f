"""The outermost layer of every HTTP process: request id, body limit, timing, last resort.

Plain ASGI, because a middleware with a task per request would cost more than the request.
"""

import re
import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import BatonError, Store
from shared.protocol.codes import Code
from shared.protocol.ids import new_id
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import HTTP_SECONDS
from shared.telemetry.otlp import EndedSpan, entered, sink
from shared.telemetry.tracecontext import HEADER, TRACE, TraceParent, parsed
from shared.web.errors import SHAPE, Shape, error_response, our_shape

log = get_logger(__name__)

#: A caller's own request id is kept when it is harmless.
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
#: Browsers shall believe our content types.
_NOSNIFF = (b"x-content-type-options", b"nosniff")
#: A method may be any word; only these become labels.
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
#: What asks for these every second wants no trace.
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
DEFAULT_BODY_LIMIT = 1_048_576


class Outermost:
    """Wraps an ASGI app; sockets pass through with a request id only.

    What the app raises is answered here; `stores` are those whose absence it may be, and `shapes`
    say what errors look like below the paths that begin so, `limits` how long bodies may be there,
    and `refusals` what a longer one is told, where the length of the body would say little.
    Where traces are exported and it `begins_traces`, a request that brings none is one by itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        process: str,
        body_limit: int = DEFAULT_BODY_LIMIT,
        stores: Sequence[Store] = (),
        shapes: Mapping[str, Shape] | None = None,
        limits: Mapping[str, int] | None = None,
        refusals: Mapping[str, str] | None = None,
        begins_traces: bool = False,
    ) -> None:
        self.app = app
        self.process = process
        self.body_limit = body_limit
        self.stores = stores
        self.shapes = shapes or {}
        self.limits = limits or {}
        self.refusals = refusals or {}
        self.begins_traces = begins_traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = request_id = _request_id(scope)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request=request_id)
        TRACE.set(None)
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope[SHAPE] = self._shape(scope["path"])
        await _Exchange(self, scope, receive, send, request_id).run()

    def _shape(self, path: str) -> Shape:
        begins = (shape for prefix, shape in self.shapes.items() if path.startswith(prefix))
        return next(begins, our_shape)

    def limit(self, path: str) -> int:
        """How many bytes a body may have that is sent to a path."""
        begins = (limit for prefix, limit in self.limits.items() if path.startswith(prefix))
        return next(begins, self.body_limit)


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, outer: Outermost, scope: Scope, receive: Receive, send: Send, request_id: str
    ) -> None:
        self.outer, self.scope = outer, scope
        self.inner_receive, self.inner_send = receive, send
        self.request_id = request_id
        self.asked = parsed(_header(scope, HEADER.encode()).decode("latin-1"))
        begins = outer.begins_traces and scope["path"] not in _UNTRACED
        self.trace = _trace(self.asked, begins=begins)
        self.status = 0
        self.received = 0
        self.limit = outer.limit(scope["path"])

    async def run(self) -> None:
        begun, begun_ns = time.perf_counter(), time.time_ns()
        try:
            if _declared_length(self.scope) > self.limit:
                raise BatonError(Code.TOO_LARGE, self._too_large())
            await self.outer.app(self.scope, self.receive, self.send)
        except ClientDisconnect:
            log.debug("a client left before it had sent its request")
        except Exception as error:
            if self.status:
                raise
            stores, shape = self.outer.stores, self.scope[SHAPE]
            answer = error_response(error, self.request_id, stores, shape)
            await answer(self.scope, self.inner_receive, self.send)
        finally:
            self._record(time.perf_counter() - begun, begun_ns)

    async def receive(self) -> Message:
        message = await self.inner_receive()
        self.received += len(message.get("body", b""))
        if self.received > self.limit:
            raise BatonError(Code.TOO_LARGE, self._too_large())
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: list[Any] = message.setdefault("headers", [])
            headers.append((b"x-request-id", self.request_id.encode()))
            if _NOSNIFF not in headers:
                headers.append(_NOSNIFF)
        await self.inner_send(message)

    def _record(self, seconds: float, begun_ns: int) -> None:
        method = self.scope["method"] if self.scope["method"] in _METHODS else "other"
        route = _route(self.scope)
        HTTP_SECONDS.labels(self.outer.process, method, route, self.status).observe(seconds)
        log.debug("request", method=method, route=route, status=self.status, seconds=seconds)
        exported = sink()
        if exported is not None and self.trace is not None:
            about = {"http.request.method": method, "http.route": route}
            failed = self.status >= 500
            exported.add(
                EndedSpan(
                    name=f"{method} {route}",
                    at=self.trace,
                    parent=self.asked.span if self.asked else None,
                    begun_ns=begun_ns,
                    ended_ns=begun_ns + int(seconds * 1e9),
                    serves=True,
                    attributes=about | {"http.response.status_code": self.status},
                    error=f"HTTP {self.status}" if failed else None,
                )
            )

    def _too_large(self) -> str:
        refusals, path = self.outer.refusals.items(), self.scope["path"]
        begins = (words for prefix, words in refusals if path.startswith(prefix))
        return next(begins, f"The body is larger than {self.limit:,} bytes.")


def _trace(asked: TraceParent | None, *, begins: bool) -> TraceParent | None:
    """The trace of a request, which everything in its task belongs to; none where nobody asks."""
    here = entered(asked, begins=begins)
    TRACE.set(here)
    if here is not None:
        structlog.contextvars.bind_contextvars(trace=here.trace)
    return here


def _request_id(scope: MutableMapping[str, Any]) -> str:
    given = _header(scope, b"x-request-id").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else new_id("req")


def _declared_length(scope: Scope) -> int:
    raw = _header(scope, b"content-length")
    return int(raw) if raw.isdigit() else 0


def _header(scope: MutableMapping[str, Any], name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _route(scope: Scope) -> str:
    """The route's template, never the path itself: ids would make a metric per thread."""
    route = scope.get("route")
    endpoint = getattr(scope.get("endpoint"), "__name__", "other")
    return str(getattr(route, "path", endpoint))
