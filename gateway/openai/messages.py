"""Messages of a request, and what an agent is given of them.

What a client says that an assistant or a tool has said is history in words: a text that the model
reads, never a call that anybody carries out.
"""

from itertools import takewhile
from typing import Annotated, Any, Literal, NamedTuple

from ag_ui.core import TextPart as ShownText
from pydantic import Field

from gateway.openai.parts import (
    FilePart,
    Given,
    ImageUrlPart,
    OtherPart,
    Shown,
    checked,
    shown,
)


class TextPart(Given):
    """Text."""

    type: Literal["text"]
    text: str


class RefusalPart(Given):
    """What an assistant refused."""

    type: Literal["refusal"]
    refusal: str


Texts = str | Annotated[list[TextPart], Field(min_length=1)]
AnyPart = Annotated[TextPart | ImageUrlPart | FilePart | OtherPart, Field(discriminator="type")]
SaidPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class Called(Given):
    """A function by name, with arguments as text."""

    name: str
    arguments: str = ""


class Custom(Given):
    """A custom tool by name, with its input."""

    name: str
    input: str = ""


class FunctionCall(Given):
    """A call of a function."""

    type: Literal["function"]
    id: str
    function: Called


class CustomCall(Given):
    """A call of a custom tool."""

    type: Literal["custom"]
    id: str
    custom: Custom


ToolCall = Annotated[FunctionCall | CustomCall, Field(discriminator="type")]


class Instruction(Given):
    """What the caller tells the agent to be like."""

    role: Literal["system", "developer"]
    content: Texts


class User(Given):
    """What a person says."""

    role: Literal["user"]
    content: str | Annotated[list[AnyPart], Field(min_length=1)]
    name: str | None = None


class Assistant(Given):
    """What an assistant is said to have answered."""

    role: Literal["assistant"]
    content: str | list[SaidPart] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Called | None = None


class Tool(Given):
    """What a tool is said to have answered."""

    role: Literal["tool"]
    content: Texts
    tool_call_id: str


class Function(Given):
    """The same, as it was before there were tools."""

    role: Literal["function"]
    content: str | None
    name: str


Message = Annotated[Instruction | User | Assistant | Tool | Function, Field(discriminator="role")]


class Said(NamedTuple):
    """One message as the agent's model reads it."""

    role: Literal["user", "assistant"]
    text: str
    #: All of it in order, where it is more than text.
    parts: tuple[ShownText | Shown, ...] = ()

    @property
    def silent(self) -> bool:
        """Whether there is nothing to be read."""
        return not self.parts and not self.text.strip()


class Told(NamedTuple):
    """What is said to a question that a run may have asked: a `result`, or a decision."""

    id: str
    text: str | None
    approved: bool = True
    result: bool = True


def called(name: str, arguments: str) -> str:
    """A call, in words."""
    return f"[called {name} with {arguments or 'nothing'}]"


def returned(name: str, text: str) -> str:
    """A result, in words."""
    return f"[{name} returned: {text}]"


def instructions_of(messages: list[Message]) -> list[str]:
    """What the caller adds to the agent's own instructions."""
    texts = [_text(one.content) for one in messages if isinstance(one, Instruction)]
    return [text for text in texts if text.strip()]


def conversation_of(messages: list[Message]) -> list[Said]:
    """Who said what, in words; messages without any are left out."""
    names: dict[str, str] = {}
    said: list[Said] = []
    for message in messages:
        match message:
            case User():
                said.append(Said("user", _text(message.content), _parts(message.content)))
            case Assistant():
                names |= {call.id: _name(call) for call in message.tool_calls or ()}
                said.append(Said("assistant", _answered(message)))
            case Tool():
                name = names.get(message.tool_call_id, message.tool_call_id)
                said.append(Said("user", returned(name, _text(message.content))))
            case Function():
                said.append(Said("user", returned(message.name, message.content or "")))
    return [one for one in said if not one.silent]


def results_of(messages: list[Message]) -> list[Told]:
    """Results that the request ends with."""
    told = takewhile(lambda one: isinstance(one, Tool), reversed(messages))
    found = [Told(one.tool_call_id, _text(one.content)) for one in told if isinstance(one, Tool)]
    return found[::-1]


def calls_of(messages: list[Message]) -> dict[str, Called]:
    """Calls of functions that an assistant is said to have made, by id."""
    return {
        call.id: call.function
        for message in messages
        if isinstance(message, Assistant)
        for call in message.tool_calls or ()
        if isinstance(call, FunctionCall)
    }


def newest_of(messages: list[Message]) -> list[Said]:
    """What the person has said since the last answer."""
    newest: list[Said] = []
    for message in reversed(messages):
        if isinstance(message, Instruction):
            continue
        if not isinstance(message, User):
            break
        newest.append(Said("user", _text(message.content), _parts(message.content)))
    return [one for one in reversed(newest) if not one.silent]


def wordless_end(messages: list[Message]) -> bool:
    """Whether the person spoke last, without a word."""
    last = next((one for one in reversed(messages) if not isinstance(one, Instruction)), None)
    return isinstance(last, User) and Said("user", _text(last.content), _parts(last.content)).silent


def unread_part(messages: list[Message]) -> tuple[str, str] | None:
    """Place and type of the first part that is not read.

    Raises:
        BatonError: a picture or file is not what it may be.
    """
    for number, message in enumerate(messages):
        if isinstance(message, User) and not isinstance(message.content, str):
            for place, part in enumerate(message.content):
                where = f"messages[{number}].content[{place}]"
                if isinstance(part, OtherPart):
                    return where, part.type
                if not isinstance(part, TextPart):
                    checked(part, where)
    return None


def _answered(message: Assistant) -> str:
    calls = [_call(call) for call in message.tool_calls or ()]
    if message.function_call:
        calls.append(called(message.function_call.name, message.function_call.arguments))
    text = _text(message.content) if message.content else message.refusal or ""
    return "\n".join(part for part in (text, *calls) if part)


def _call(call: FunctionCall | CustomCall) -> str:
    if isinstance(call, FunctionCall):
        return called(call.function.name, call.function.arguments)
    return called(call.custom.name, call.custom.input)


def _name(call: FunctionCall | CustomCall) -> str:
    return call.function.name if isinstance(call, FunctionCall) else call.custom.name


def _text(content: Any) -> str:
    """All text of some content, its parts one below the other."""
    if isinstance(content, str):
        return content
    texts = [part.refusal if isinstance(part, RefusalPart) else _said(part) for part in content]
    return "\n".join(text for text in texts if text is not None)


def _said(part: Any) -> str | None:
    return part.text if isinstance(part, TextPart) else None


def _parts(content: str | list[Any]) -> tuple[ShownText | Shown, ...]:
    if isinstance(content, str) or all(isinstance(part, TextPart) for part in content):
        return ()
    return tuple(
        ShownText(text=part.text) if isinstance(part, TextPart) else shown(part) for part in content
    )
