"""The central noun: what the script answers to one model call, whatever API it came through."""

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What goes wrong on purpose with one answer (`[[fault=…]]`)."""

    BAD_REQUEST = "400"  #: HTTP 400, not worth a retry
    UNAUTHORIZED = "401"  #: HTTP 401, the key is wrong
    RATE_LIMITED = "429"  #: HTTP 429 with Retry-After
    SERVER_ERROR = "500"  #: HTTP 500
    OVERLOADED = "503"  #: HTTP 503
    CUT = "cut"  #: the connection is closed in mid stream
    HANG = "hang"  #: the request is accepted and never answered
    HANG_MID = "hang_mid"  #: a few deltas, then silence
    NONSENSE = "nonsense"  #: a 200 whose body is garbage
    EMPTY = "empty"  #: a 200 with a JSON error as body, as LM Studio does for unknown paths
    EMPTY_STREAM = "empty_stream"  #: ends without content and without a finish reason
    INCOMPLETE = "incomplete"  #: half an answer, then max_output_tokens is reached
    REFUSAL = "refusal"  #: a refusal instead of text
    FAILED = "failed"  #: half an answer, then the stream reports a server error


class Finish(StrEnum):
    """How an answer ends, in the words of the Responses API."""

    COMPLETED = "completed"  #: everything was said
    INCOMPLETE = "incomplete"  #: the token limit cut it off
    FAILED = "failed"  #: the provider gave up


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call the model asks for; `arguments` is the JSON text that goes over the wire."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One model response: its parts in the order they are streamed, and how they are delivered."""

    reasoning: str = ""
    text: str = ""
    text_deltas: int | None = None  #: split the text into exactly so many; None: by words
    calls: tuple[ToolCall, ...] = ()
    is_refusal: bool = False  #: `text` is a refusal, not an answer
    finish: Finish = Finish.COMPLETED
    repeat_call_ids: bool = False  #: every call has the id `call_1`
    delay_s: float = 0.0  #: silence before the first delta
    tokens_per_s: float | None = None  #: pace of the deltas; None: as fast as possible
    fault: Fault | None = None  #: what goes wrong in delivery
