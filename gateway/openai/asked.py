"""What a request for a chat completion asks for: the rules, without I/O."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from gateway.json_schema import is_schema
from gateway.openai.messages import (
    Called,
    Message,
    Said,
    Told,
    calls_of,
    conversation_of,
    instructions_of,
    newest_of,
    results_of,
    unread_part,
    wordless_end,
)
from gateway.openai.parts import Given
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.wording import said as worded

R = TypeVar("R", bound=Given)
#: A number of tokens, and a text that an answer ends before.
Most = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
StopText = Annotated[str, StringConstraints(min_length=1, max_length=1000)]

MOST_MESSAGES = 2000
#: OpenAI's own limits of `metadata`.
MOST_PAIRS, KEY_CHARS, VALUE_CHARS = 16, 64, 512
#: In `metadata`: the conversation that a request goes on with.
THREAD_ID = "thread_id"
#: What a header may name of the parameters that were ignored: others choose the names.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
MOST_NAMES = 50
#: What pydantic says where something of another kind stands, and what was to stand there.
_KINDS = {
    "string_type": "text",
    "list_type": "a list",
    "model_type": "an object",
    "dict_type": "an object",
}
_LESS = "send the newest, or go on in a thread that is kept here (the header Baton-Thread)."
#: Beyond what OpenAI says, so that no key is cut off by anybody.
MOST_KEY_CHARS = 255


class StreamOptions(Given):
    """What a stream holds."""

    include_usage: bool | None = None


class JsonSchema(Given):
    """The schema that an answer shall have."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class ResponseFormat(Given):
    """The form of an answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(Given):
    """A request as it comes; what is not named here is ignored, and its sender told so."""

    model_config = ConfigDict(extra="allow")

    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    response_format: ResponseFormat | None = None
    metadata: dict[str, str] | None = None
    max_tokens: Most | None = None
    max_completion_tokens: Most | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=4)] | None = None
    #: Read only where the agent takes them.
    tools: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was found well-formed.

    `thread`: the conversation it goes on with; without one it brings its history along.
    """

    model: str
    said: list[Said]
    instructions: list[str]
    thread: str | None
    metadata: dict[str, str]
    stream: bool
    include_usage: bool
    wants_json: bool
    ignored: list[str]
    #: The client's own tools, as they came.
    tools: Any
    #: What it says to questions of a run, and of the calls that those are about.
    told: list[Told]
    calls: Mapping[str, Called]
    #: Whether it says something new beside that, and where it says all of it.
    news: bool = False
    place: str = "messages"
    #: How long each of the model's answers may get, in tokens, and the texts that it ends before.
    most_tokens: int | None = None
    stop: tuple[str, ...] = ()


def read_request(body: Any, headers: Mapping[str, str]) -> Asked:
    """Check everything that needs no look at what is stored.

    Raises:
        BatonError: BAD_INPUT or NOT_SUPPORTED; `param` names the place.
    """
    request = validated(ChatRequest, body)
    _check(request)
    metadata = dict(request.metadata or {})
    thread = thread_of(metadata.pop(THREAD_ID, None), headers.get("baton-thread"))
    messages, wanted = request.messages, request.response_format
    said = newest_of(messages) if thread else conversation_of(messages)
    told = results_of(messages)
    if (not said and not told) or wordless_end(messages):
        raise bad("messages", "there is no text to answer.")
    return Asked(
        model=request.model,
        said=said,
        instructions=instructions_of(messages),
        thread=thread,
        metadata=metadata,
        stream=bool(request.stream),
        include_usage=bool(request.stream_options and request.stream_options.include_usage),
        wants_json=wanted is not None and wanted.type != "text",
        ignored=ignored_of(request),
        tools=request.tools,
        told=told,
        calls=calls_of(messages),
        most_tokens=_most_tokens(request),
        stop=(request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ()),
    )


def _most_tokens(request: ChatRequest) -> int | None:
    """Both names mean the same here, and the smaller number counts."""
    given = (request.max_tokens, request.max_completion_tokens)
    return min((one for one in given if one is not None), default=None)


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The key that makes a request the same one, however often it comes."""
    key = headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MOST_KEY_CHARS:
        raise bad(None, f"Idempotency-Key: 1 to {MOST_KEY_CHARS} characters.")
    return key


def bad(param: str | None, why: str, code: str = "invalid_value") -> BatonError:
    """BAD_INPUT in OpenAI's words."""
    sentence = f"{param}: {why}" if param else why
    return BatonError(Code.BAD_INPUT, sentence, param=param, reason=code)


def validated(kind: type[R], body: Any) -> R:
    """The request, if it is one; BAD_INPUT otherwise, with the place of what is wrong."""
    if not isinstance(body, dict):
        raise bad(None, "The body has to be a JSON object, sent as application/json.")
    for place in ("messages", "input"):  # before anything else looks at them all
        given = body.get(place)
        if isinstance(given, list) and len(given) > MOST_MESSAGES:
            raise bad(place, f"{len(given):,} are too many, {MOST_MESSAGES:,} are allowed; {_LESS}")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        problem, why = _meant(error)
        place = _place(body, problem["loc"], missing=problem["type"] == "missing")
        raise bad(place, f"{why}.", _code(problem["type"])) from None


def _meant(error: ValidationError) -> tuple[ErrorDetails, str]:
    """What is wrong: where several kinds may stand, with the one that was meant."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    furthest = max(len(one["loc"]) for one in problems)
    found = [one for one in problems if len(one["loc"]) == furthest]
    kinds = [_KINDS.get(one["type"]) for one in found if one["loc"][:-1] == found[0]["loc"][:-1]]
    if len(kinds) == len(found) > 1 and (named := [kind for kind in kinds if kind]) == kinds:
        return found[0], f"this must be {' or '.join(named)}"
    problem = next((one for one in found if one["type"] not in _KINDS), found[0])
    return problem, worded(problem["msg"])[:200]


def _code(kind: str) -> str:
    if kind == "missing":
        return "missing_required_parameter"
    return "invalid_type" if kind.endswith("_type") else "invalid_value"


def _place(body: Any, loc: Sequence[int | str], *, missing: bool) -> str:
    """The place as OpenAI writes it, `messages[0].content`.

    pydantic names members of unions as well, which nobody has written.
    """
    path, value = "", body
    for number, part in enumerate(loc):
        last = missing and number == len(loc) - 1
        if isinstance(value, list) and isinstance(part, int) and part < len(value):
            path, value = f"{path}[{part}]", value[part]
        elif last or (isinstance(value, dict) and part in value):
            path = f"{path}.{part}" if path else str(part)
            value = value.get(part) if isinstance(value, dict) else None
    return path[:200]


def _check(request: ChatRequest) -> None:
    if request.n not in (None, 1):
        raise bad("n", "an agent gives one answer; only 1 is allowed.")
    if request.stream_options and not request.stream:
        raise bad("stream_options", "it is for streams only.")
    if part := unread_part(request.messages):
        place, kind = part
        raise BatonError(Code.NOT_SUPPORTED, f"{place}: {kind} is not read.", param=place)
    _check_format(request.response_format)
    check_metadata(request.metadata or {})


def _check_format(wanted: ResponseFormat | None) -> None:
    if wanted is None or wanted.type != "json_schema":
        return
    if wanted.json_schema is None:
        place = "response_format.json_schema"
        raise bad(place, "it is missing.", "missing_required_parameter")
    check_schema("response_format.json_schema.schema", wanted.json_schema.schema_)


def check_schema(place: str, schema: dict[str, Any] | None) -> None:
    """Raise BAD_INPUT for what is no JSON schema."""
    if not is_schema(schema or {}):
        raise bad(place, "this is not a JSON schema.", "invalid_json_schema")


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise BAD_INPUT beyond the limits of OpenAI."""
    if len(metadata) > MOST_PAIRS:
        raise bad("metadata", f"at most {MOST_PAIRS} pairs.")
    for key, value in metadata.items():
        if len(key) > KEY_CHARS or len(value) > VALUE_CHARS:
            why = f"keys of at most {KEY_CHARS} characters, values of at most {VALUE_CHARS}."
            raise bad("metadata", why)


def thread_of(named: str | None, header: str | None) -> str | None:
    """The durable thread that a request names, in one way or the other."""
    if named is not None and header is not None and named != header:
        raise bad("metadata", "the header Baton-Thread names another thread.")
    return named if header is None else header


def ignored_of(request: Given) -> list[str]:
    """Names of parameters that had no effect, as far as a header can tell them."""
    given = request.model_extra or {}
    named = [name for name, value in given.items() if value is not None and _NAME.fullmatch(name)]
    return sorted(named)[:MOST_NAMES]
