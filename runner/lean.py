"""The SDK's bookkeeping over a run's items, in less time and with the same outcome.

With each turn the SDK goes several times through everything that the run has made so far. That is
most of the CPU of a long run, replayed or live: 300 turns took 5 s. What is put in place here gives
what the SDK's own functions give (tests/runner/test_lean.py compares them); anything out of the
ordinary is left to these. The private names are held by tests/runner/test_sdk_names.py.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from agents import _tool_invocation as invocation
from agents import agent_tool_state, run_context
from agents.items import (
    HandoffOutputItem,
    MessageOutputItem,
    ReasoningItem,
    RunItemBase,
    ToolCallItem,
    ToolCallOutputItem,
)
from agents.run_internal import items, session_persistence, tool_planning, turn_resolution
from openai.types.responses import ResponseFunctionToolCall

#: Calls whose identity is remembered: some long runs at a time.
REMEMBERED = 8192
#: Longer arguments are not worth their memory.
LONGEST = 2000

_identity = invocation.tool_invocation_identity_and_scope
_output = invocation.tool_output_identity
_mapping = invocation._as_mapping
_register = tool_planning._register_tool_call_items


def make_lean() -> None:
    """Put the faster ways in place, in this process, once."""
    invocation._as_mapping = as_mapping
    for module in (invocation, run_context, turn_resolution, agent_tool_state):
        module.tool_invocation_identity_and_scope = identity_and_scope  # type: ignore[attr-defined]
    for module in (items, run_context, tool_planning, turn_resolution, session_persistence):
        module.tool_output_identity = output_identity  # type: ignore[attr-defined]
    for module in (tool_planning, turn_resolution):
        module._register_tool_call_items = register  # type: ignore[attr-defined]
    _make_agents_properties()


def as_mapping(value: Any) -> Mapping[str, Any] | None:
    """A value as the SDK reads it: most are plain already."""
    return value if type(value) is dict else _mapping(value)


def identity_and_scope(raw_item: Any, **known: Any) -> tuple[str, str, str, str] | None:
    """What a tool call is known by. A function call's identity follows from its texts alone."""
    if type(raw_item) is ResponseFunctionToolCall:
        texts = tuple(raw_item.__dict__.items())
        plain = all(one is None or type(one) is str for _, one in texts)
        if plain and not raw_item.__pydantic_extra__ and len(raw_item.arguments or "") <= LONGEST:
            return _remembered(texts, tuple(known.items()))
    elif type(raw_item) is dict and raw_item.get("type") == "function_call_output":
        return None
    return _identity(raw_item, **known)


@lru_cache(maxsize=REMEMBERED)
def _remembered(
    texts: tuple[tuple[str, str | None], ...], known: tuple[tuple[str, Any], ...]
) -> tuple[str, str, str, str] | None:
    fields: dict[str, Any] = dict(texts)
    return _identity(ResponseFunctionToolCall.construct(**fields), **dict(known))


def output_identity(raw_item: Any) -> tuple[str, str] | None:
    """Which call an item completes: a call itself completes none."""
    if type(raw_item) is ResponseFunctionToolCall and raw_item.type == "function_call":
        return None
    return _output(raw_item)


def register(
    context_wrapper: Any, run_items: Sequence[Any], *, validate_invocations: bool = True
) -> None:
    """Let the SDK look only at items that change what the context knows of calls."""
    legacy = context_wrapper._allow_legacy_approval_binding_reconstruction
    calls_matter = legacy and not validate_invocations
    known = context_wrapper._tool_invocations
    left = [one for one in run_items if _matters(one, known, calls_matter=calls_matter)]
    _register(context_wrapper, left, validate_invocations=validate_invocations)


def _matters(item: Any, known: dict[str, Any], *, calls_matter: bool) -> bool:
    kind = type(item)
    if kind is ToolCallOutputItem:
        raw = item.raw_item
        if type(raw) is not dict or raw.get("type") != "function_call_output":
            return True
        record = known.get(raw.get("call_id", ""))
        return not (
            record is not None
            and record.completed
            and record.executed
            and record.invocation_type == "function_call"
        )
    if kind is ToolCallItem:
        raw = item.raw_item
        plain = type(raw) is ResponseFunctionToolCall and raw.type == "function_call"
        return calls_matter or not plain
    return kind not in (MessageOutputItem, ReasoningItem)


def _make_agents_properties() -> None:
    """Items look up every attribute in Python, for the sake of their agents, which are held weakly.

    Properties do the same for these names alone.
    """
    for kind, names in (
        (RunItemBase, ("agent",)),
        (HandoffOutputItem, ("source_agent", "target_agent")),
    ):
        if "__getattribute__" in kind.__dict__:
            for name in names:
                setattr(kind, name, _weakly(name))
            del kind.__getattribute__


def _weakly(name: str) -> property:
    reference = f"_{name}_ref"

    def get(item: Any) -> Any:
        return item._get_agent_via_weakref(name, reference)

    def put(item: Any, value: Any) -> None:
        item.__dict__[name] = value

    return property(get, put)
