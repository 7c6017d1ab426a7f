"""The client's own tools in a request: what is offered, and what is told of their calls."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from gateway.client_tools import MOST_TOOLS, Tool, checked_tools, takes_client_tools
from gateway.openai.asked import Asked, validated
from gateway.openai.parts import Given

A = TypeVar("A", bound=Asked)


class Function(Given):
    """A function that the client has."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ChatTool(Given):
    """As chat completions have it."""

    type: Literal["function"]
    function: Function


class ResponseTool(Function):
    """As responses have it."""

    type: Literal["function"]


class _ChatTools(Given):
    tools: Annotated[list[ChatTool], Field(max_length=MOST_TOOLS)] | None = None


class _ResponseTools(Given):
    tools: Annotated[list[ResponseTool], Field(max_length=MOST_TOOLS)] | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """How a client names its tools."""

    kind: type[_ChatTools] | type[_ResponseTools]

    def read(self, asked: A, agent: dict[str, Any]) -> tuple[A, tuple[Tool, ...]]:
        """The tools that the agent is offered; unless it takes them, none, and they are ignored.

        Raises:
            BatonError: BAD_INPUT.
        """
        if asked.tools is None:
            return asked, ()
        if not takes_client_tools(agent):
            return replace(asked, ignored=sorted([*asked.ignored, "tools"])), ()
        given: Any = validated(self.kind, {"tools": asked.tools}).tools or ()
        functions = [getattr(one, "function", one) for one in given]
        tools = [one.model_dump(exclude={"type"}, exclude_none=True) for one in functions]
        return asked, checked_tools(tools)


CHAT, RESPONSES = Offer(_ChatTools), Offer(_ResponseTools)
