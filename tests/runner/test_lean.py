"""What is done in less time gives what the SDK's own functions give."""

import copy
import dataclasses
import gc
import weakref
from typing import Any

import pytest
from agents import Agent, RunContextWrapper
from agents.items import (
    HandoffCallItem,
    HandoffOutputItem,
    MessageOutputItem,
    RunItemBase,
    ToolApprovalItem,
    ToolCallItem,
    ToolCallOutputItem,
)
from openai.types.responses import (
    ResponseCustomToolCall,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
)
from openai.types.responses.response_function_tool_call import CallerDirect

from runner import lean

#: Before anything was replaced: the module keeps what it found.
SDK_IDENTITY, SDK_OUTPUT = lean._identity, lean._output
SDK_MAPPING, SDK_REGISTER = lean._mapping, lean._register
AGENT = Agent(name="A")


def call(**fields: Any) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall.construct(
        **{"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"} | fields
    )


def answer(call_id: Any = "c1", **fields: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": "3"} | fields


RAW_ITEMS: list[Any] = [
    call(),
    call(arguments='{"b": 1, "a": [1, 2]}'),
    call(arguments='{"a":[1,2],"b":1}'),
    call(arguments="not json"),
    call(arguments="x" * 5000),
    call(arguments=None),
    call(call_id=""),
    call(call_id=None),
    call(call_id=7),
    call(name=None),
    call(namespace="other"),
    call(id="f1", status="completed"),
    call(type="something"),
    call(caller=CallerDirect(type="direct")),
    call(surprise="more"),
    call().model_dump(exclude_unset=True),
    answer(),
    answer(call_id=""),
    answer(call_id=None),
    {"type": "hosted_tool_call", "provider_data": {"type": "mcp_approval_request", "id": "m1"}},
    {"type": "mcp_approval_request", "id": "m2", "name": "n", "server_label": "s",
     "arguments": "{}"},
    {"type": "mcp_approval_response", "approval_request_id": "m2"},
    {"type": "computer_call_output", "call_id": "c9"},
    {"role": "user", "content": "hello"},
    {},
    ResponseCustomToolCall(type="custom_tool_call", call_id="c2", name="n", input="i"),
    None,
    "text",
    7,
]  # fmt: skip
KNOWN: list[dict[str, Any]] = [
    {},
    {"tool_name": "add"},
    {"tool_lookup_key": ("bare", "add"), "tool_name": None},
    {"tool_lookup_key": None, "tool_name": "add", "invocation_role": "handoff"},
]


@pytest.mark.parametrize("raw", RAW_ITEMS, ids=lambda raw: str(raw)[:70])
def test_a_call_is_known_by_the_same(raw: Any) -> None:
    for known in KNOWN:
        expected = SDK_IDENTITY(copy.deepcopy(raw), **known)
        for _ in range(2):  # found out, and remembered
            assert lean.identity_and_scope(raw, **known) == expected, known
    assert lean.output_identity(raw) == SDK_OUTPUT(raw)
    assert lean.as_mapping(raw) == SDK_MAPPING(raw)


def test_a_call_that_is_changed_is_another() -> None:
    raw = call(arguments='{"a": 1}')
    before = lean.identity_and_scope(raw)
    raw.arguments = '{"a": 2}'
    assert lean.identity_and_scope(raw) == SDK_IDENTITY(raw) != before


def _items() -> list[Any]:
    message = ResponseOutputMessage.construct(id="m", type="message", role="assistant", content=[])
    odd = call(call_id="c3", name="transfer_to_b")
    return [
        MessageOutputItem(agent=AGENT, raw_item=message),
        ToolCallItem(agent=AGENT, raw_item=call()),
        ToolCallItem(agent=AGENT, raw_item=call(call_id="c2").model_dump(exclude_unset=True)),
        ToolCallItem(agent=AGENT, raw_item=RAW_ITEMS[-4]),
        HandoffCallItem(agent=AGENT, raw_item=odd),
        ToolCallOutputItem(agent=AGENT, raw_item=answer(), output="3"),
        ToolCallOutputItem(
            agent=AGENT,
            raw_item=answer("c3", type="custom_tool_call_output"),
            output="3",
        ),
        ToolApprovalItem(agent=AGENT, raw_item=call(call_id="c4"), tool_name="add"),
        HandoffOutputItem(
            agent=AGENT,
            raw_item=answer("c3"),  # type: ignore[arg-type]
            source_agent=AGENT,
            target_agent=AGENT,
        ),
    ]


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("legacy", [True, False])
def test_the_context_knows_the_same_of_calls(validate: bool, legacy: bool) -> None:
    items = _items()
    known = []
    for register in (SDK_REGISTER, lean.register):
        context: RunContextWrapper[Any] = RunContextWrapper(None)
        context._allow_legacy_approval_binding_reconstruction = legacy
        context._tool_invocation_status(call())  # as it is before a tool runs
        states = []
        for end in range(len(items) + 1):  # a turn more each time
            register(context, items[:end], validate_invocations=validate)
            states.append({id_: str(vars(one)) for id_, one in context._tool_invocations.items()})
        known.append(states)
    assert known[0] == known[1]
    assert "'completed': True" in known[0][-1]["c1"]


def test_an_item_holds_its_agents_as_before() -> None:
    lean._make_agents_properties()
    assert "__getattribute__" not in RunItemBase.__dict__
    source, target = Agent(name="S"), Agent(name="T")
    item = HandoffOutputItem(
        agent=source,
        raw_item=answer(),  # type: ignore[arg-type]
        source_agent=source,
        target_agent=target,
    )
    assert (item.agent, item.source_agent, item.target_agent) == (source, source, target)
    assert dataclasses.replace(item) == item
    assert "agent=Agent(name='S'" in repr(item)
    item.release_agent()
    assert (item.agent, item.source_agent, item.target_agent) == (source, source, target)
    gone = weakref.ref(target)
    del target
    gc.collect()
    assert gone() is None
    assert item.target_agent is None
    assert item.agent is source
