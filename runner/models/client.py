"""The client for the model server, lean where it counts: in every delta and every turn.

The stock client validates each event of a stream against the union of all kinds, which costs more
than everything else that is done with a delta. Here a journalled call's stream is read through its
tap, which keeps the plain deltas. Other deltas, and events that nobody reads, are handed on as the
plain values they came as; the rest is built as ever, though from its own class at once.

It also walks through the whole conversation at each request, to rename fields which no type of a
conversation has: most of what a turn costs, and more with each turn. Here the conversation and the
tools go into the request as they are.
"""

from functools import cached_property
from types import SimpleNamespace
from typing import Any, get_args

import httpx2
from openai import AsyncOpenAI, omit
from openai.resources.chat import AsyncChat, AsyncCompletions
from openai.resources.responses import AsyncResponses
from openai.types.responses import ResponseStreamEvent

from baton import traceparent
from runner.models.tap import TAP
from shared.telemetry.tracecontext import HEADER

#: Said again by events that are read, so that the translator passes over these.
_UNREAD = frozenset(
    {
        "response.created",
        "response.in_progress",
        "response.queued",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_text.done",
        "response.refusal.done",
        "response.function_call_arguments.done",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done",
        "response.reasoning_summary_text.done",
        "response.reasoning_text.done",
    }
)


#: The class of each kind of event, out of the union of all.
_CLASSES = {
    kind: event
    for event in get_args(get_args(ResponseStreamEvent)[0])
    for kind in get_args(event.model_fields["type"].annotation)
}


class LeanClient(AsyncOpenAI):
    """AsyncOpenAI for requests of the SDK's models, and streams that only JournaledModel reads.

    Where the server refuses to be asked for usage, it is not, whatever an agent's settings say.
    """

    asks_for_usage = True
    #: Whether its server is told the trace that a call belongs to.
    tells_trace = True

    @cached_property
    def responses(self) -> AsyncResponses:
        """See AsyncOpenAI."""
        return _Responses(self)

    @cached_property
    def chat(self) -> AsyncChat:
        """See AsyncOpenAI."""
        return _Chat(self)

    async def _prepare_request(self, request: httpx2.Request) -> None:
        """See AsyncAPIClient: what each request still needs."""
        if self.tells_trace and (trace := traceparent()) is not None:
            request.headers.setdefault(HEADER, trace)

    def _make_sse_decoder(self) -> Any:
        """See BaseClient: asked once for each stream, in the context of its call."""
        return TAP.get() or super()._make_sse_decoder()

    def _process_response_data(
        self, *, data: object, cast_to: Any, response: httpx2.Response
    ) -> Any:
        """See BaseClient: from an event's JSON to what the caller gets."""
        kind = data.get("type") if isinstance(data, dict) else None
        if isinstance(data, dict) and isinstance(kind, str):
            if kind in _UNREAD:
                return SimpleNamespace(type=kind)
            if kind.startswith("response.") and kind.endswith(".delta"):
                return SimpleNamespace(**data)
            if cast_to is ResponseStreamEvent:
                cast_to = _CLASSES.get(kind, cast_to)
        return super()._process_response_data(data=data, cast_to=cast_to, response=response)


class _Responses(AsyncResponses):
    async def create(self, *args: Any, **asked: Any) -> Any:
        return await super().create(*args, **_as_it_is(asked, "input", "tools"))


class _Chat(AsyncChat):
    @cached_property
    def completions(self) -> AsyncCompletions:
        return _Completions(self._client)


class _Completions(AsyncCompletions):
    async def create(self, *args: Any, **asked: Any) -> Any:
        if isinstance(self._client, LeanClient) and not self._client.asks_for_usage:
            asked["stream_options"] = omit
        return await super().create(*args, **_as_it_is(asked, "messages", "tools"))


def _as_it_is(asked: dict[str, Any], *large: str) -> dict[str, Any]:
    """The arguments with the large ones in `extra_body`, which is sent as it is.

    An empty list keeps each one's place, so that the body is the stock client's to the byte. What
    the caller has in `extra_body` himself comes before it, as ever.
    """
    moved = {name: asked[name] for name in large if isinstance(asked.get(name), list)}
    body = moved | (asked.get("extra_body") or {})
    return asked | {name: [] for name in moved} | {"extra_body": body}
