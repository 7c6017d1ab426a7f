"""Showing what tools and hand-offs gave: TOOL_CALL_RESULT, and the message it leaves."""

from typing import Any

import orjson

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
