"""The server's paths, and what each does with a request."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import orjson

from stack.demo_model import asgi, chat_api, model_request, responses_api, script
from stack.demo_model.asgi import Receive, Scope, Send
from stack.demo_model.delivery import ConnectionCutError, deliver
from stack.demo_model.errors import ApiError, missing_key, unknown_url
from stack.demo_model.faults import http_error
from stack.demo_model.limits import limited
from stack.demo_model.model_request import ModelRequest
from stack.demo_model.records import Received, Records
from stack.demo_model.rendering import Rendered
from stack.demo_model.reply import Reply

_MODELS = orjson.dumps(
    {
        "object": "list",
        "data": [
            {"id": "demo", "object": "model", "created": 1_767_225_600, "owned_by": "baton"},
        ],
    }
)

_Handler = Callable[["_Exchange"], Awaitable[None]]


class _Exchange:
    """One request, and the means to answer it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.has_key = asgi.has_bearer_key(scope)
        self.trace = asgi.header(scope, b"traceparent")
        self.receive = receive
        self.send = send

    async def received(self) -> Received:
        body = await asgi.read_body(self.receive)
        return Received(path=self.path, has_key=self.has_key, body=body, trace=self.trace)


class DemoModel:
    """The ASGI app. One instance holds what it has received."""

    def __init__(self, *, tokens_per_s: float | None = None) -> None:
        self._default_pace = tokens_per_s
        self._under_way = 0
        self._requests = Records()
        self._traces = Records()
        self._faults_given: Counter[str] = Counter()
        self._handlers: dict[tuple[str, str], _Handler] = {
            ("GET", "/healthz"): self._healthz,
            ("GET", "/v1/models"): self._models,
            ("POST", "/v1/responses"): self._responses,
            ("POST", "/v1/chat/completions"): self._chat,
            ("POST", "/v1/traces/ingest"): self._ingest,
            ("GET", "/_demo/requests"): self._show_requests,
            ("GET", "/_demo/traces"): self._show_traces,
            ("POST", "/_demo/reset"): self._reset,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        exchange = _Exchange(scope, receive, send)
        try:
            await self._handle(exchange)
        except ApiError as error:
            await asgi.respond_json(send, error.body(), status=error.status, headers=error.headers)
        except ConnectionCutError:
            return  # uvicorn closes the connection of an answer that is not complete

    async def _handle(self, exchange: _Exchange) -> None:
        handler = self._handlers.get((exchange.method, exchange.path))
        if handler is None:
            raise unknown_url(exchange.method, exchange.path)
        if exchange.path.startswith("/v1/") and not exchange.has_key:
            raise missing_key()
        await handler(exchange)

    async def _responses(self, exchange: _Exchange) -> None:
        await self._answer(exchange, model_request.read_responses, responses_api.render)

    async def _chat(self, exchange: _Exchange) -> None:
        await self._answer(exchange, model_request.read_chat, chat_api.render)

    async def _answer(
        self,
        exchange: _Exchange,
        read: Callable[[bytes], ModelRequest],
        render: Callable[[ModelRequest, Reply], Rendered],
    ) -> None:
        received = await exchange.received()
        request = read(received.body)
        self._under_way += 1
        try:
            self._requests.add(replace(received, at_once=self._under_way))
            reply = self._reply_to(request)
            if error := http_error(reply.fault):
                raise error
            rendered = render(request, reply)
            await deliver(exchange.send, exchange.receive, rendered, reply, stream=request.stream)
        finally:
            self._under_way -= 1

    def _reply_to(self, request: ModelRequest) -> Reply:
        question = request.question
        asked = question.directives
        if asked.fault and asked.fault_times is not None:
            if self._faults_given[request.user_text] >= asked.fault_times:
                question = replace(question, directives=replace(asked, fault=None))
            self._faults_given[request.user_text] += 1
        reply = script.answer(question)
        if reply.tokens_per_s is None:
            reply = replace(reply, tokens_per_s=self._default_pace)
        return limited(reply, most_tokens=request.most_tokens, stop=request.stop)

    async def _ingest(self, exchange: _Exchange) -> None:
        received = await exchange.received()
        model_request.parse_object(received.body)
        self._traces.add(received)
        await asgi.respond_json(exchange.send, b"{}")

    async def _healthz(self, exchange: _Exchange) -> None:
        await asgi.respond_json(exchange.send, b'{"status":"ok"}')

    async def _models(self, exchange: _Exchange) -> None:
        await asgi.respond_json(exchange.send, _MODELS)

    async def _show_requests(self, exchange: _Exchange) -> None:
        await asgi.respond_json(exchange.send, self._requests.as_json())

    async def _show_traces(self, exchange: _Exchange) -> None:
        await asgi.respond_json(exchange.send, self._traces.as_json())

    async def _reset(self, exchange: _Exchange) -> None:
        self._requests.reset()
        self._traces.reset()
        self._faults_given.clear()
        await asgi.respond_json(exchange.send, b"{}")
