"""The typed context of a run, as tools, hooks and instructions get it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class RunContext:
    """Who asked, and where; ids only, never secrets."""

    run_id: str
    thread_id: str
    user_id: str
    agent: str
    #: A project the caller may use, if one was named and authorised.
    project_id: str | None = None
    #: What the client sent along as `forwardedProps`.
    metadata: dict[str, Any] = field(default_factory=dict)
