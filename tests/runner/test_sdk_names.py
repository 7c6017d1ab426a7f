"""Private names of the SDK that the runner leans on: an update must not lose one."""

import inspect

import agents.run
import agents.tool
import agents.usage
from agents import (
    Agent,
    FunctionTool,
    Handoff,
    InputGuardrail,
    OutputGuardrail,
    RunConfig,
    Runner,
    RunState,
    ToolInputGuardrail,
    ToolOutputGuardrail,
    _tool_invocation,
    agent_tool_state,
    function_tool,
    handoff,
    run_context,
)
from agents.agent import AgentBase
from agents.items import HandoffOutputItem, RunItemBase
from agents.models.multi_provider import MultiProvider
from agents.run_internal import items, session_persistence, tool_planning, turn_resolution
from agents.run_internal.run_steps import (
    ToolRunApplyPatchCall,
    ToolRunCustom,
    ToolRunLocalShellCall,
    ToolRunShellCall,
)
from agents.tool_context import ToolContext
from agents.tracing.span_data import GenerationSpanData
from agents.tracing.spans import SpanImpl

from runner.natives import ACTIONS

#: How a call of each kind in `ACTIONS` is held.
CALLS = (ToolRunCustom, ToolRunShellCall, ToolRunLocalShellCall, ToolRunApplyPatchCall)


@function_tool
def _plain(text: str) -> str:
    """Do nothing."""
    return text


def test_names_of_tools_and_their_invokers() -> None:
    # wrap.py: the invoker, its parts, and how it is bound to its tool
    invoker = _plain.on_invoke_tool
    assert isinstance(invoker, agents.tool._FailureHandlingFunctionToolInvoker)
    for name in ("_invoke_tool_impl", "_on_handled_error", "_function_tool"):
        assert hasattr(invoker, name), name
    assert hasattr(type(invoker), "__agents_bind_function_tool__")
    parameters = list(inspect.signature(type(invoker).__init__).parameters)
    assert parameters == ["self", "invoke_tool_impl", "on_handled_error", "function_tool"]
    assert getattr(invoker, agents.tool._SYNC_FUNCTION_TOOL_MARKER) is True
    assert list(inspect.signature(agents.tool._invoke_function_tool_with_metadata).parameters) == [
        "function_tool",
        "context",
        "arguments",
    ]
    assert {"output", "is_sdk_generated_error"} == set(
        agents.tool._FunctionToolInvocationResult.__annotations__
    )
    assert agents.tool._DEFAULT_FAILURE_HANDLED_ATTR == "_function_tool_default_failure_handled"
    assert "_custom_data" in inspect.getsource(ToolContext.__init__)


def test_names_of_tools_that_are_no_functions() -> None:
    # natives.py: one method carries out a call of such a tool
    for action in ACTIONS:
        named = set(inspect.signature(action.execute).parameters)
        assert {"agent", "call", "context_wrapper", "tool_output_committer"} <= named
        assert inspect.iscoroutinefunction(action.execute)
    for kind, name in zip(CALLS, ACTIONS.values(), strict=True):
        assert {"tool_call", name} <= set(kind.__annotations__)
    assert callable(run_context.RunContextWrapper._mark_tool_invocation_executed)


def test_names_of_agents_as_tools_and_behind_hand_offs() -> None:
    # wrap.py
    inner = Agent(name="Inner")
    as_tool = inner.as_tool(tool_name="inner", tool_description="Inner.")
    assert isinstance(as_tool, FunctionTool)
    assert as_tool._is_agent_tool is True
    assert as_tool._agent_instance is inner
    reference = handoff(inner)._agent_ref
    assert reference is not None
    assert reference() is inner
    # wrap.py: predicates and hand-offs can be replaced in place
    assert {"is_enabled", "needs_approval", "on_invoke_tool"} <= set(FunctionTool.__annotations__)
    assert {"is_enabled", "on_invoke_handoff"} <= set(Handoff.__annotations__)


def test_names_of_runs_turns_and_traces() -> None:
    # models/response.py: what the loop of a streamed run counts
    assert list(inspect.signature(agents.usage._response_usage_to_usage).parameters) == [
        "response_usage"
    ]
    # turns.py: a turn's tools are collected by these; verdicts.py: guardrails are asked by `run`
    for name in ("get_all_tools", "get_mcp_tools"):
        assert inspect.iscoroutinefunction(getattr(AgentBase, name)), name
    assert inspect.iscoroutinefunction(Agent.get_system_prompt)
    for guardrail in (InputGuardrail, OutputGuardrail, ToolInputGuardrail, ToolOutputGuardrail):
        assert inspect.iscoroutinefunction(guardrail.run), guardrail
    # invocations.py: what a state began with
    assert "_original_input" in inspect.getsource(RunState.__init__)
    # and every invocation passes here, whichever way it is made
    for name in ("run", "run_streamed"):
        parameters = list(inspect.signature(getattr(agents.run.AgentRunner, name)).parameters)
        assert parameters[:3] == ["self", "starting_agent", "input"] or hasattr(
            getattr(agents.run.AgentRunner, name), "_baton"
        )
        assert hasattr(Runner, name)
    # configure.py: a config that says nothing of models has this provider
    assert type(RunConfig().model_provider) is MultiProvider
    assert MultiProvider.__name__ == "MultiProvider"
    # tracing.py: the data of a span can be replaced before it is exported
    assert "_span_data" in SpanImpl.__slots__
    assert GenerationSpanData().type == "generation"


def test_every_private_name_that_is_made_lean_is_there() -> None:
    replaced = {
        "_as_mapping": (_tool_invocation,),
        "tool_invocation_identity_and_scope": (
            _tool_invocation, agent_tool_state, run_context, turn_resolution,
        ),
        "tool_output_identity": (
            items, run_context, session_persistence, tool_planning, turn_resolution,
        ),
        "_register_tool_call_items": (tool_planning, turn_resolution),
    }  # fmt: skip
    for name, modules in replaced.items():
        for module in modules:
            assert callable(getattr(module, name)), (module, name)
    parameters = inspect.signature(tool_planning._register_tool_call_items).parameters
    assert list(parameters) == ["context_wrapper", "items", "validate_invocations"] or (
        tool_planning._register_tool_call_items.__module__ == "runner.lean"
    )
    context = run_context.RunContextWrapper(None)
    assert context._tool_invocations == {}
    assert context._allow_legacy_approval_binding_reconstruction is False
    record = run_context._ToolInvocationRecord("function_call", "", "")
    assert (record.executed, record.completed) == (False, False)
    assert callable(RunItemBase._get_agent_via_weakref)
    assert {"_source_agent_ref", "_target_agent_ref"} <= set(HandoffOutputItem.__annotations__)
