"""Tools that the client of a run has: the model is offered them, and nobody here carries them out.

A call of one ends the run with a question, as one that needs a person's approval does. The client's
result comes back as the decision, and becomes the call's recorded result.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from agents import FunctionTool, Handoff
from agents.agent import AgentBase
from agents.exceptions import UserError
from agents.tool_context import ToolContext

from runner.scope import SCOPE
from shared.errors import BatonError
from shared.protocol.codes import Code

#: The client's result for a call, by its scope and id.
ResultOf = Callable[[str, str], str]


class ClientTool(FunctionTool):
    """A tool that the client carries out."""


def client_tools(given: Iterable[Mapping[str, Any]], result_of: ResultOf) -> list[FunctionTool]:
    """Tools as the client has described them: `name`, `description`, `parameters`, `strict`.

    Raises:
        BatonError: BAD_INPUT, a schema that is said to be strict is not.
    """
    return [_made(one, result_of) for one in given]


def _made(given: Mapping[str, Any], result_of: ResultOf) -> FunctionTool:
    async def result(context: ToolContext[Any], _arguments: str) -> str:
        inside = SCOPE.get()
        if inside is None or inside.parent is None:
            raise RuntimeError(f"the client's tool {given['name']!r} was called outside a run")
        return result_of(inside.parent.name, context.tool_call_id)

    try:
        return ClientTool(
            name=given["name"],
            description=given.get("description") or "",
            params_json_schema=dict(
                given.get("parameters") or {"type": "object", "properties": {}}
            ),
            on_invoke_tool=result,
            strict_json_schema=bool(given.get("strict")),
            # A plain bool, so that arguments which are no JSON wait for the client as well.
            needs_approval=True,
        )
    except UserError as error:
        message = f"tools: {given['name']!r} is not strict: {error}"
        raise BatonError(Code.BAD_INPUT, message[:500]) from None


def beside(agent: AgentBase[Any], own: Iterable[Any], offered: Sequence[FunctionTool]) -> list[Any]:
    """An agent's own tools, and the client's.

    Raises:
        BatonError: BAD_INPUT, one of the client's is called like something that the agent has.
    """
    own = list(own)
    handoffs = [
        one.tool_name if isinstance(one, Handoff) else Handoff.default_tool_name(one)
        for one in getattr(agent, "handoffs", ())
    ]
    taken = {*(tool.name for tool in own), *handoffs}
    if clash := next((tool.name for tool in offered if tool.name in taken), None):
        message = f"tools: the agent {agent.name!r} has a {clash!r} of its own."
        raise BatonError(Code.BAD_INPUT, message)
    return [*own, *offered]
