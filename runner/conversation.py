"""From the thread's messages to the input of the SDK: what the model is told of the past."""

from collections.abc import Iterable
from typing import Any


def as_input(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items of the Responses API for AG-UI messages; reasoning stays with whoever reasoned.

    A result whose call is not there (a long conversation loses its beginning) would be refused by
    the model server, as a call without its result would.
    """
    messages = list(messages)
    answered = {one["toolCallId"] for one in messages if one["role"] == "tool"}
    asked = {call["id"] for one in messages for call in one.get("toolCalls") or ()}
    items: list[dict[str, Any]] = []
    for message in messages:
        match message["role"]:
            case "user":
                items.append({"role": "user", "content": _content(message["content"])})
            case "assistant":
                items += _assistant(message, answered)
            case "tool" if message["toolCallId"] in asked:
                items.append(
                    {
                        "type": "function_call_output",
                        "call_id": message["toolCallId"],
                        "output": _content(message["content"]),
                    }
                )
            case "system" | "developer":
                items.append({"role": message["role"], "content": message["content"]})
    return items


def _assistant(message: dict[str, Any], answered: set[str]) -> list[dict[str, Any]]:
    """Text, then calls; a call that was never answered would be refused by the model server."""
    items: list[dict[str, Any]] = []
    if text := message.get("content"):
        items.append({"role": "assistant", "content": text})
    items += [
        {
            "type": "function_call",
            "call_id": call["id"],
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"] or "{}",
        }
        for call in message.get("toolCalls") or ()
        if call["id"] in answered
    ]
    return items


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content if part.get("type") == "text")
