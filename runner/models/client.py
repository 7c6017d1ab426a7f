"""The client for the model server, lean where it counts: on the path of every delta.

The stock client validates each event of a stream against the union of all kinds, which costs more
than everything else that is done with a delta. Deltas, and events that nobody reads, are handed on
as the plain values they came as; all others are built as ever, though from their own class at once.
"""

from types import SimpleNamespace
from typing import Any, get_args

import httpx2
from openai import AsyncOpenAI
from openai.types.responses import ResponseStreamEvent

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
    """AsyncOpenAI for streams that only JournaledModel reads."""

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
