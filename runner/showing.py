"""Showing what tools and hand-offs gave: TOOL_CALL_RESULT, and the message it leaves."""

from collections.abc import Iterable
from typing import Any

import orjson
from agents import ToolCallOutputItem

from runner import codec
from runner.carried import CarriedRun
from runner.scope import Scope
from shared.protocol.ids import new_id

#: What the SDK tells the model of all hand-offs but the first in one response.
IGNORED = "Multiple handoffs detected, ignoring this one."


def show_result(run: CarriedRun, scope: Scope, call_id: str, content: str) -> dict[str, Any]:
    """Emit the result of a call; the message that a client makes of it.

    What the model is told of a failure looks like any other result, so people are told apart.
    """
    message: dict[str, Any] = {
        "id": new_id("msg"),
        "role": "tool",
        "toolCallId": call_id,
        "content": content,
    }
    event: dict[str, Any] = {
        "type": "TOOL_CALL_RESULT",
        "messageId": message["id"],
        "toolCallId": call_id,
        "content": content,
        "role": "tool",
    }
    if call_id in run.failed_calls:
        event["metadata"] = message["metadata"] = {"baton": {"failed": True}}
    if subagent := run.stage.subagent(scope):
        event["subagentRunId"] = subagent
    run.outbox.emit(event)
    return message


def answered_by(item: Any) -> str | None:
    """The call that an item of a model's input is the result of, if it is one."""
    if not isinstance(item, dict) or not str(item.get("type")).endswith("_output"):
        return None
    call_id = item.get("call_id")
    return call_id if isinstance(call_id, str) else None


def show_uncalled(run: CarriedRun, scope: Scope, item: Any, said: str | None = None) -> None:
    """Show a result, as the model gets it, of a call that no tool carried out.

    What a person has refused, for one, or what the model called by an unknown name. Any other item
    is none, nor is what has been shown.
    """
    call_id = answered_by(item)
    if call_id is None or not run.waits_for_result_of(call_id):
        return
    run.answered.add(call_id)
    run.failed_calls.add(call_id)
    content = codec.as_text(item.get("output", "")) if said is None else said
    message = show_result(run, scope, call_id, content)
    if not scope.nested:
        run.shown.append(message)
        run.uncalled.append(message)


def show_left(run: CarriedRun, scope: Scope, made: Iterable[Any]) -> None:
    """Show what is left to show of the items that an invocation has made."""
    for item in made:
        if isinstance(item, ToolCallOutputItem) and not run.journal.replaying:
            show_uncalled(run, scope, item.raw_item, str(item.output))


def show_hand_offs(
    run: CarriedRun, scope: Scope, output: list[dict[str, Any]], hand_offs: dict[str, str]
) -> list[dict[str, Any]]:
    """Answer the hand-off calls of a response; `hand_offs`: tool name → name of the agent.

    A hand-off has no step of its own, and what the SDK answers follows from the response alone, so
    it is shown and recorded with the response.
    """
    calls = [
        item
        for item in output
        if item.get("type") == "function_call" and item.get("name") in hand_offs
    ]
    shown = []
    for number, call in enumerate(calls):
        said = orjson.dumps({"assistant": hand_offs[call["name"]]}).decode()
        shown.append(show_result(run, scope, call["call_id"], IGNORED if number else said))
    return shown
