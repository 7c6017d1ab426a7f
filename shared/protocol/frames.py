"""Frames of `/realtime`, sub-protocol `baton.v1`: what clients send, and how answers are written.

Every frame is one JSON object with an `op`. Frames with events are written by hand from the event's
own text, because an event passes the gateway unparsed.
"""

from typing import Annotated, Any, Literal

import orjson
from ag_ui.core import RunAgentInput
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic.alias_generators import to_camel

from shared.protocol.codes import MEANINGS, Code
from shared.protocol.ids import ID_PATTERN
from shared.protocol.position import Position

SUBPROTOCOL = "baton.v1"
#: A key comes as second entry of the sub-protocols, because browsers cannot set headers.
BEARER_PREFIX = "bearer."
PROTOCOL_VERSION = 1
HEARTBEAT_MS = 20_000
#: Silence after which a client counts as gone: two heartbeats and some patience.
HEARTBEAT_LIMIT_MS = 45_000
MAX_FRAME_BYTES = 1_048_576

PublicId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
FrameId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
IfBusy = Literal["enqueue", "reject", "interrupt", "rollback", "steer"]


class _Frame(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, strict=True, extra="ignore")

    id: FrameId


class Subscribe(_Frame):
    """Send me a thread's events after `after`; without it, from a reset."""

    op: Literal["subscribe"]
    thread_id: PublicId
    after: str | None = None


class Unsubscribe(_Frame):
    """Send me no more of this thread."""

    op: Literal["unsubscribe"]
    thread_id: PublicId


class Run(_Frame):
    """Start a run; the input's `runId` is the idempotency key."""

    op: Literal["run"]
    agent: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    input: RunAgentInput = Field(strict=False)
    if_busy: IfBusy = "enqueue"
    #: As the header of this name (W3C Trace Context); what is none is as if it were not there.
    traceparent: str | None = None


class Cancel(_Frame):
    """Stop a run; the truth comes as RUN_FINISHED cancelled."""

    op: Literal["cancel"]
    thread_id: PublicId
    run_id: PublicId


class Ping(_Frame):
    """I am here."""

    op: Literal["ping"]


ClientFrame = Annotated[Subscribe | Unsubscribe | Run | Cancel | Ping, Field(discriminator="op")]
CLIENT_FRAME: TypeAdapter[ClientFrame] = TypeAdapter(ClientFrame)
CLIENT_OPS = frozenset({"subscribe", "unsubscribe", "run", "cancel", "ping"})


def event_frame(thread_json: str, position: Position, event_json: str) -> str:
    """An `event` frame around an event's JSON text; `thread_json` is the thread's id, quoted."""
    return (
        f'{{"op":"event","threadId":{thread_json},'
        f'"id":"{position.fence}-{position.seq}","event":{event_json}}}'
    )


def frame(op: str, **fields: Any) -> str:
    """Any other frame; fields that are `None` are left out."""
    body = {"op": op} | {to_camel(k): v for k, v in fields.items() if v is not None}
    return orjson.dumps(body).decode()


def error_frame(code: Code, message: str, *, id: str | None = None) -> str:  # noqa: A002
    """An `error` frame; whether to try again follows from the code."""
    return frame("error", id=id, code=code, message=message, retryable=MEANINGS[code].retryable)
