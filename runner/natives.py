"""Tools that are no functions: custom tools, shells, patches; and who answers for hosted MCP tools.

The SDK carries out each such call by one class method, with its approval, hooks and errors, and
makes one item of it. That item is the record. Tools that a server carries out are part of the
model's response; those that a process keeps the state of cannot be taken over.
"""

import dataclasses
import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from agents import Agent, ComputerTool, HostedMCPTool, ToolCallOutputItem
from agents.run_internal import tool_actions
from agents.sandbox import SandboxAgent
from agents.tool import MCPToolApprovalFunctionResult, MCPToolApprovalRequest

from runner import codec
from runner.calls import recorded_call, show
from runner.carried import CARRIED, CarriedRun
from runner.journal import Key
from runner.models.digest import digest_of
from runner.scope import SCOPE, Scope
from runner.theirs import theirs
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import place_of

#: By whom each kind of call is carried out, and under which name its tool stands in the request.
ACTIONS: dict[Any, str] = {
    tool_actions.CustomToolAction: "custom_tool",
    tool_actions.ShellAction: "shell_tool",
    tool_actions.LocalShellAction: "local_shell_tool",
    tool_actions.ApplyPatchAction: "apply_patch_tool",
}


def refuse(agent: Agent[Any]) -> None:
    """Refuse what cannot be replayed.

    Raises:
        BatonError: `agent_error`.
    """
    what = "a sandbox" if isinstance(agent, SandboxAgent) else None
    if any(isinstance(tool, ComputerTool) for tool in agent.tools):
        what = "a computer"
    if what is not None:
        message = f"The agent {agent.name!r} uses {what}, whose state would be lost with a process."
        raise BatonError(Code.AGENT_ERROR, f"{message} See docs/replay.md.")


def patch_actions() -> None:
    """Journal all calls of these kinds in this process; to be called once."""
    for action, name in ACTIONS.items():
        action.execute = classmethod(_journaled(action.execute.__func__, name))


class _UndecidedError(BaseException):
    """A call waits for a person: there is nothing to record yet, no error either."""

    def __init__(self, item: Any) -> None:
        super().__init__()
        self.item = item


def _journaled(execute: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[Any]]:
    @wraps(execute)
    async def journaled(cls: Any, *, agent: Any, call: Any, **asked: Any) -> Any:
        async def carry_out() -> Any:
            with theirs():
                return await execute(cls, agent=agent, call=call, **asked)

        run, scope = CARRIED.get(), SCOPE.get()
        call_id = _field(call.tool_call, "call_id")
        if run is None or scope is None or not isinstance(call_id, str):
            return await carry_out()
        native = _Native(agent, call, getattr(call, name))
        inside = scope.call(call_id)
        entered = SCOPE.set(inside)
        try:
            return await _recorded(run, scope, inside, native, carry_out, asked)
        finally:
            SCOPE.reset(entered)
            run.leave(inside)

    return journaled


@dataclasses.dataclass(frozen=True, slots=True)
class _Native:
    """A call of one of these kinds."""

    agent: Agent[Any]
    call: Any
    tool: Any

    @property
    def id(self) -> str:
        """The model's own."""
        return str(_field(self.call.tool_call, "call_id"))


async def _recorded(
    run: CarriedRun,
    scope: Scope,
    inside: Scope,
    native: _Native,
    carry_out: Callable[[], Awaitable[Any]],
    asked: dict[str, Any],
) -> Any:
    made: list[ToolCallOutputItem] = []

    async def live() -> dict[str, Any]:
        item = await carry_out()
        if not isinstance(item, ToolCallOutputItem):
            raise _UndecidedError(item)
        made.append(item)
        await run.sessions.write(inside)
        output = codec.encode(
            {"raw": item.raw_item, "output": item.output, "custom": item.custom_data}
        )
        text = codec.as_text(output["output"])
        return {"output": output, "shown": await show(run, scope, native.id, text)}

    digest = digest_of(native.tool.name, [native.call.tool_call])
    try:
        record = await recorded_call(run, scope, native.id, digest, live, inside=inside)
    except _UndecidedError as undecided:
        return undecided.item
    kept = codec.decode(record["output"])
    if made:
        item = made[0]
        item.raw_item, item.output, item.custom_data = kept["raw"], kept["output"], kept["custom"]
        return item
    item = ToolCallOutputItem(
        agent=native.agent,
        raw_item=kept["raw"],
        output=kept["output"],
        custom_data=kept["custom"],
    )
    asked["context_wrapper"]._mark_tool_invocation_executed(
        native.call.tool_call, tool_name=native.tool.name
    )
    if (commit := asked.get("tool_output_committer")) is not None:
        commit(item)
    return item


def wrap_hosted(tool: HostedMCPTool) -> None:
    """Journal what an author's function says to requests for approval; again changes nothing."""
    if tool.on_approval_request is None or isinstance(tool.on_approval_request, _Approver):
        return
    tool.on_approval_request = _Approver(tool.on_approval_request)


class _Approver:
    """In place of the function that answers for an author: each request is answered once."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self.inner = inner

    async def __call__(self, request: MCPToolApprovalRequest) -> MCPToolApprovalFunctionResult:
        run, scope = CARRIED.get(), SCOPE.get()
        if run is None or scope is None:
            return await self._ask(request)

        async def live() -> dict[str, Any]:
            return {"shown": [], "decision": dict(await self._ask(request))}

        key = Key(scope.name, "approval", place_of(request.data.id))
        digest = digest_of(request.data.name, [request.data])
        decision: Any = (await run.step(scope, key, digest, live))["decision"]
        return decision  # type: ignore[no-any-return]

    async def _ask(self, request: MCPToolApprovalRequest) -> MCPToolApprovalFunctionResult:
        with theirs():
            answer = self.inner(request)
            decision: Any = await answer if inspect.isawaitable(answer) else answer
        return decision  # type: ignore[no-any-return]


def _field(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else getattr(item, name, None)
