"""Where in a run some code stands: the path of enclosing invocations and tool calls.

Contextvars carry it into tools, agents as tools, guardrails and gathered tasks. An invocation is
named by its agent, the digest of its input, and its ordinal among equals, so that gathered runs
find their own records whatever order they start in.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from agents.exceptions import UserError

from runner.contexts import ContextWatch
from shared.protocol.ids import new_id, place_of


@dataclass(frozen=True, slots=True)
class Fold:
    """The beginning of an invocation's input, and the summary that models are given for it.

    `count` items, whose digest is `digest`; those at the places `kept` stay as they are.
    """

    count: int
    digest: str
    kept: tuple[int, ...]
    summary: str


@dataclass(slots=True, eq=False)
class Scope:
    """One invocation of the SDK's Runner, or one tool call inside it."""

    path: tuple[str, ...] = ()
    parent: "Scope | None" = None
    #: Committed model calls of this invocation.
    position: int = 0
    #: Failures at this position that the author's code may have caught.
    failures: int = 0
    #: The tool call that encloses this invocation directly.
    call_id: str | None = None
    agent: str = ""
    #: The context object that this invocation's code works with.
    context: ContextWatch | None = None
    #: What was found before the model call of each position: enabled tools, tools of MCP servers.
    notes: dict[int, dict[str, Any]] = field(default_factory=dict)
    #: Whether the agent's own code calls the Runner here, and not we for it.
    authors: bool = False
    #: The newest answers of `is_enabled`, by agent and tool.
    enabled: dict[str, bool] = field(default_factory=dict)
    #: What its model calls are given in place of the beginning of their input.
    fold: Fold | None = None
    #: What events show of it.
    step: str | None = None
    subagent: str | None = None
    #: Whether it is the call of an agent as tool: the SDK itself passes on what that one asks.
    descends: bool = False
    #: Under which id events have shown it, after its end; and whether that waits for a person.
    left_as: str | None = None
    suspended: bool = False
    _children: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The path as text: the journal's key."""
        return "/".join(self.path)

    @property
    def nested(self) -> bool:
        """Whether this invocation runs inside a tool or guardrail of another."""
        return self.parent is not None and self.parent.parent is not None

    @property
    def of_author(self) -> bool:
        """Whether the agent's own code made this invocation, and gets to know how it ends."""
        return self.nested or (self.parent is not None and self.parent.authors)

    @property
    def has_invocations(self) -> bool:
        """Whether the Runner was called here, outside of tools and guardrails."""
        return any(name.startswith("run:") for name in self._children)

    def invocation(self, agent: str, digest: str) -> "Scope":
        """A Runner call made here."""
        name = self.numbered(f"run:{agent.replace('/', '_')}:{digest}")
        return Scope((*self.path, name), self, call_id=self.call_id, agent=agent)

    def call(self, call_id: str) -> "Scope":
        """A tool call made here."""
        return self._inside(f"tool:{place_of(call_id)}", call_id)

    def guardrail(self, place: str) -> "Scope":
        """A guardrail that looks at what is done here."""
        return self._inside(f"guardrail:{place}", self.call_id)

    def numbered(self, name: str) -> str:
        """A name with its ordinal among equals here: in what order they begin is the code's own."""
        ordinal = self._children.get(name, 0)
        self._children[name] = ordinal + 1
        return f"{name}#{ordinal}"

    def _inside(self, name: str, call_id: str | None) -> "Scope":
        return Scope(
            (*self.path, name), self, call_id=call_id, agent=self.agent, context=self.context
        )

    def shown_as(self) -> str:
        """The id under which events speak of this nested invocation."""
        if self.subagent is None:
            self.subagent = new_id("sub")
        return self.subagent


SCOPE: ContextVar[Scope | None] = ContextVar("baton_scope", default=None)


class NoRunContextError(UserError):
    """The SDK was called where no run can be found: in a thread of one's own, or at import."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} was called outside a run of Baton (no_run_context).")
