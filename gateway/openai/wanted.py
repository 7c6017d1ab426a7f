"""What a request for a response asks for: the rules, without I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from gateway.openai.asked import (
    MOST_MESSAGES,
    THREAD_ID,
    Asked,
    Most,
    bad,
    check_metadata,
    check_schema,
    ignored_of,
    thread_of,
    validated,
)
from gateway.openai.items import (
    Item,
    answers_of,
    calls_of,
    conversation_of,
    has_news,
    instructions_of,
    unread_part,
    wordless_end,
)
from gateway.openai.messages import Said
from gateway.openai.parts import Given
from shared.errors import BatonError
from shared.protocol.codes import Code

Id = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Conversation(Given):
    """A conversation by id."""

    id: Id


class Format(Given):
    """The form of an answer."""

    type: Literal["text", "json_object", "json_schema"]
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class TextOptions(Given):
    """What the text shall be like."""

    format: Format | None = None


class ResponseRequest(Given):
    """A request as it comes; what is not named here is ignored, and its sender told so."""

    model_config = ConfigDict(extra="allow")

    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    input: str | Annotated[list[Item], Field(min_length=1, max_length=MOST_MESSAGES)]
    instructions: str | None = None
    stream: bool | None = None
    background: bool | None = None
    previous_response_id: Id | None = None
    conversation: Id | Conversation | None = None
    text: TextOptions | None = None
    metadata: dict[str, str] | None = None
    max_output_tokens: Most | None = None
    #: Read only where the agent takes them.
    tools: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(Asked):
    """A request that was found well-formed; `previous`: the response that it goes on from."""

    previous: str | None
    background: bool


def read_response_request(body: Any, headers: Mapping[str, str]) -> Wanted:
    """Check everything that needs no look at what is stored.

    Raises:
        BatonError: BAD_INPUT or NOT_SUPPORTED; `param` names the place.
    """
    request = validated(ResponseRequest, body)
    _check(request)
    metadata = dict(request.metadata or {})
    thread = thread_of(metadata.pop(THREAD_ID, None) or _conversation(request), _header(headers))
    if thread and request.previous_response_id:
        raise bad("previous_response_id", "it excludes a conversation.")
    said, instructions = _read(request.input)
    if thread or request.previous_response_id:
        said = [one for one in said if one.role == "user"]
    items = [] if isinstance(request.input, str) else request.input
    told = answers_of(items)
    if not said and not told:
        raise bad("input", "there is no text to answer.")
    wanted = request.text.format if request.text else None
    return Wanted(
        model=request.model,
        said=said,
        instructions=[*([request.instructions] if request.instructions else []), *instructions],
        thread=thread,
        metadata=metadata,
        stream=bool(request.stream),
        include_usage=False,
        wants_json=wanted is not None and wanted.type != "text",
        ignored=ignored_of(request),
        tools=request.tools,
        told=told,
        calls=calls_of(items),
        news=bool(request.previous_response_id) and has_news(items),
        place="input",
        most_tokens=request.max_output_tokens,
        previous=request.previous_response_id,
        background=bool(request.background),
    )


def _check(request: ResponseRequest) -> None:
    check_metadata(request.metadata or {})
    if request.text and request.text.format and request.text.format.type == "json_schema":
        check_schema("text.format.schema", request.text.format.schema_)
    if not isinstance(request.input, str) and (part := unread_part(request.input)):
        place, kind = part
        raise BatonError(Code.NOT_SUPPORTED, f"{place}: {kind} is not read.", param=place)


def _read(given: str | list[Item]) -> tuple[list[Said], list[str]]:
    if isinstance(given, str):
        return ([Said("user", given)] if given.strip() else []), []
    if wordless_end(given):
        return [], []
    return conversation_of(given), instructions_of(given)


def _conversation(request: ResponseRequest) -> str | None:
    named = request.conversation
    return named.id if isinstance(named, Conversation) else named


def _header(headers: Mapping[str, str]) -> str | None:
    return headers.get("baton-thread")
