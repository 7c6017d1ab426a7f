"""What an agent's file may import: the run's context and trace, files, tools of toolsvc."""

from baton.context import RunContext
from baton.files import put_file, read_file
from baton.tools import gateway_tool
from baton.trace import traceparent

__all__ = ["RunContext", "gateway_tool", "put_file", "read_file", "traceparent"]
