"""Input items of the Responses API, and what an agent is given of them.

As in messages.py: calls and results that a client tells of are history in words.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from ag_ui.core import TextPart
from pydantic import Discriminator, Field, Tag

from gateway.openai.messages import Called, Said, Told, called, returned
from gateway.openai.parts import Given, InputFile, InputImage, OtherPart, Shown, checked, shown


class Text(Given):
    """Text that somebody said."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class Refusal(Given):
    """What an assistant refused."""

    type: Literal["refusal"]
    refusal: str


Part = Annotated[Text | Refusal | InputImage | InputFile | OtherPart, Field(discriminator="type")]
Content = str | Annotated[list[Part], Field(min_length=1)]


class Spoken(Given):
    """A message."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class Call(Given):
    """A call of a function."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str = ""


class Output(Given):
    """What a function is said to have returned."""

    type: Literal["function_call_output"]
    call_id: str
    output: Content


class Request(Given):
    """What a run has asked a person."""

    type: Literal["mcp_approval_request"]
    id: str
    name: str
    arguments: str = ""


class Decided(Given):
    """What a person has decided."""

    type: Literal["mcp_approval_response"]
    approval_request_id: str
    approve: bool
    reason: str | None = None


class Thought(Given):
    """Reasoning, which stays with whoever reasoned."""

    type: Literal["reasoning"]


_READ = (
    *("message", "function_call", "function_call_output"),
    *("mcp_approval_request", "mcp_approval_response", "reasoning"),
)


def _kind(item: Any) -> Any:
    """A message needs no type."""
    return item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", None)


Item = Annotated[
    Annotated[Spoken, Tag("message")]
    | Annotated[Call, Tag("function_call")]
    | Annotated[Output, Tag("function_call_output")]
    | Annotated[Request, Tag("mcp_approval_request")]
    | Annotated[Decided, Tag("mcp_approval_response")]
    | Annotated[Thought, Tag("reasoning")],
    Discriminator(
        _kind,
        custom_error_type="unknown_type",
        custom_error_message=f"Value error, its type is none of {', '.join(_READ)}",
    ),
]


def instructions_of(items: Sequence[Item]) -> list[str]:
    """What the caller adds to the agent's own instructions."""
    texts = [
        _text(one.content)
        for one in items
        if isinstance(one, Spoken) and one.role in ("system", "developer")
    ]
    return [text for text in texts if text.strip()]


def conversation_of(items: Sequence[Item]) -> list[Said]:
    """Who said what, in words; items without any are left out."""
    names: dict[str, str] = {}
    said: list[Said] = []
    for item in items:
        match item:
            case Spoken(role="user" | "assistant" as role):
                parts = _parts(item.content) if role == "user" else ()
                said.append(Said(role, _text(item.content), parts))
            case Call():
                names[item.call_id] = item.name
                said.append(Said("assistant", called(item.name, item.arguments)))
            case Output():
                name = names.get(item.call_id, item.call_id)
                said.append(Said("user", returned(name, _text(item.output))))
    return [one for one in said if not one.silent]


def answers_of(items: Sequence[Item]) -> list[Told]:
    """Results and decisions that the request ends with."""
    told: list[Told] = []
    for item in reversed(items):
        match item:
            case Output():
                told.append(Told(item.call_id, _text(item.output)))
            case Decided():
                reason = None if item.approve else item.reason
                id_ = item.approval_request_id
                told.append(Told(id_, reason, approved=item.approve, result=False))
            case Thought():
                pass
            case _:
                break
    return told[::-1]


def calls_of(items: Sequence[Item]) -> dict[str, Called]:
    """Calls that were made, and asked about, by id."""
    calls = {one.call_id: one for one in items if isinstance(one, Call)}
    asked = {one.id: one for one in items if isinstance(one, Request)}
    return {
        id_: Called(name=one.name, arguments=one.arguments) for id_, one in (calls | asked).items()
    }


def has_news(items: Sequence[Item]) -> bool:
    """Whether anything but answers is told."""
    return any(isinstance(one, Spoken) for one in items)


def wordless_end(items: Sequence[Item]) -> bool:
    """Whether the person spoke last, without a word."""
    spoken = [one for one in items if not isinstance(one, (Thought, Request, Decided))]
    last = spoken[-1] if spoken else None
    if not isinstance(last, Spoken) or last.role != "user":
        return False
    return Said("user", _text(last.content), _parts(last.content)).silent


def unread_part(items: Sequence[Item]) -> tuple[str, str] | None:
    """Place and type of the first part that is not read: pictures and files are those of people.

    Raises:
        BatonError: one of those is not what it may be.
    """
    for number, item in enumerate(items):
        content = item.content if isinstance(item, Spoken) else None
        content = item.output if isinstance(item, Output) else content
        for place, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, Text | Refusal):
                continue
            name = "output" if isinstance(item, Output) else "content"
            where = f"input[{number}].{name}[{place}]"
            if isinstance(part, OtherPart) or not _of_person(item):
                return where, part.type
            checked(part, where)
    return None


def _text(content: str | list[Any]) -> str:
    if isinstance(content, str):
        return content
    texts = [
        part.refusal if isinstance(part, Refusal) else part.text
        for part in content
        if isinstance(part, Text | Refusal)
    ]
    return "\n".join(texts)


def _of_person(item: Any) -> bool:
    return isinstance(item, Spoken) and item.role == "user"


def _parts(content: str | list[Any]) -> tuple[TextPart | Shown, ...]:
    if isinstance(content, str) or all(isinstance(part, Text | Refusal) for part in content):
        return ()
    return tuple(
        TextPart(text=_text([part])) if isinstance(part, Text | Refusal) else shown(part)
        for part in content
    )
