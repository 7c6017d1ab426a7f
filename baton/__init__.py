"""What an agent's file may import: the run's context, and tools that live in toolsvc."""

from baton.context import RunContext
from baton.tools import gateway_tool

__all__ = ["RunContext", "gateway_tool"]
