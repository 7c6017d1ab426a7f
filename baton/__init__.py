"""What an agent's file may import: the run's context, files, and tools that live in toolsvc."""

from baton.context import RunContext
from baton.files import put_file, read_file
from baton.tools import gateway_tool

__all__ = ["RunContext", "gateway_tool", "put_file", "read_file"]
