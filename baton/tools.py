"""Tools of toolsvc inside an agent: `tools=[gateway_tool("save_note")]`.

The agent's file holds a placeholder. Name and schema come from toolsvc's catalogue when a runner
loads the agent; a call runs in toolsvc under the token of the run.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from agents import FunctionTool
from agents.tool_context import ToolContext

#: How the present run calls a tool: (name, arguments, call id) → what the model is told.
Caller = Callable[[str, Any, str], Awaitable[Any]]

CALLER: ContextVar[Caller | None] = ContextVar("baton_tool_caller", default=None)


#: Toolsvc's tools by name, where this process knows them.
_KNOWN: dict[str, Mapping[str, Any]] = {}


def know(catalogue: Mapping[str, Mapping[str, Any]]) -> None:
    """Tell what toolsvc has: placeholders made from here on know their schema at once."""
    _KNOWN.update(catalogue)
    for gone in _KNOWN.keys() - catalogue.keys():
        del _KNOWN[gone]


class GatewayTool(FunctionTool):
    """A tool that is executed by toolsvc."""


def gateway_tool(name: str) -> GatewayTool:
    """A placeholder for toolsvc's tool `name`.

    Raises:
        ValueError: when an agent that carries it is loaded and toolsvc has no such tool.
    """

    async def invoke(context: ToolContext[Any], arguments: str) -> Any:
        caller = CALLER.get()
        if caller is None:
            raise RuntimeError(f"the tool {name!r} was called outside a run")
        return await caller(name, json.loads(arguments or "{}"), context.tool_call_id)

    tool = GatewayTool(
        name=name,
        description="",
        params_json_schema={
            "type": "object",
            "properties": {},
            "required": [],
            "additionalProperties": False,
        },
        on_invoke_tool=invoke,
        strict_json_schema=True,
    )
    if name in _KNOWN:
        bind([tool], _KNOWN)
    return tool


def bind(tools: Iterable[object], catalogue: Mapping[str, Mapping[str, Any]]) -> None:
    """Give placeholders their description and schema.

    Raises:
        ValueError: toolsvc has no tool of that name.
    """
    for tool in tools:
        if not isinstance(tool, GatewayTool):
            continue
        if (known := catalogue.get(tool.name)) is None:
            raise ValueError(f"toolsvc has no tool {tool.name!r}; it has {', '.join(catalogue)}")
        tool.description = str(known["description"])
        tool.params_json_schema = dict(known["parameters"])
