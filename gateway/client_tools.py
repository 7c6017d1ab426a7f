"""Tools that a client brings along, for agents whose `agent.yaml` takes them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.json_schema import is_schema
from shared.errors import BatonError
from shared.protocol.codes import Code

#: As OpenAI has it.
MOST_TOOLS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

#: `name`, `description`, `parameters` (a JSON schema, or nothing) and perhaps `strict`.
Tool = dict[str, Any]


def takes_client_tools(agent: Mapping[str, Any]) -> bool:
    """Whether an agent, as runners announce it, is offered what its clients have."""
    tools = (agent.get("capabilities") or {}).get("tools") or {}
    return bool(tools.get("clientProvided"))


def checked_tools(tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tools, if a model can be offered them.

    Raises:
        BatonError: BAD_INPUT; `param` names the place.
    """
    if len(tools) > MOST_TOOLS:
        raise _bad("tools", f"at most {MOST_TOOLS} of them.")
    names = [tool["name"] for tool in tools]
    for index, tool in enumerate(tools):
        if not _NAME.fullmatch(tool["name"]):
            raise _bad(f"tools[{index}]", "a name has 1 to 64 letters, digits, _ and -.")
        if tool["name"] in names[:index]:
            raise _bad(f"tools[{index}]", f"{tool['name']} comes twice.")
        if not is_schema(tool.get("parameters") or {}):
            raise _bad(f"tools[{index}]", "its parameters are no JSON schema.")
    return tuple(tools)


def _bad(place: str, why: str) -> BatonError:
    return BatonError(Code.BAD_INPUT, f"{place}: {why}", param=place, reason="invalid_value")
