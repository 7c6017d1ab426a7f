"""A snapshot of a run's earlier turns that may be gone on from; see snapshots.py."""

from dataclasses import dataclass
from typing import Any

from agents import RunState

from shared.protocol.record import StepRecord


@dataclass(frozen=True, slots=True)
class Restored:
    """The SDK's state, and the steps that it stands for."""

    state: RunState[Any]
    #: What the root invocation began with: its name comes of it, not of the state.
    input: Any
    before: list[StepRecord]
    #: The root invocation's model calls among them.
    position: int
