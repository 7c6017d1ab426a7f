"""What the script sees of a model call: the last thing the user said and what happened since."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stack.demo_model.directives import Directives

#: The Agents SDK names the tool of a hand-off `transfer_to_<agent's name in snake_case>`
#: (agents/handoffs/__init__.py, Handoff.default_tool_name).
HANDOFF_PREFIX = "transfer_to_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutput:
    """What a tool answered to a call the model made."""

    name: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One model call, the same for both APIs."""

    text: str  #: the last user text, without its directives
    directives: Directives = field(default_factory=Directives)
    tools: Mapping[str, dict[str, Any]] = field(default_factory=dict)  #: name → parameters' schema
    outputs: tuple[ToolOutput, ...] = ()  #: since the last user message, oldest first
    instructions: str = ""
    answer_schema: dict[str, Any] | None = None  #: the answer must be JSON of this schema

    def output_of(self, tool: str) -> str | None:
        """The newest output of that tool since the user's message."""
        found = (each.output for each in reversed(self.outputs) if each.name == tool)
        return next(found, None)

    def handoffs_offered(self) -> Iterator[str]:
        """The names of the tools that hand over to another agent."""
        return (name for name in self.tools if name.startswith(HANDOFF_PREFIX))

    def was_handed_off(self) -> bool:
        """Whether an agent has handed over since the user's message."""
        return any(each.name.startswith(HANDOFF_PREFIX) for each in self.outputs)
