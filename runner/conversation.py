"""From the thread's messages to the input of the SDK: what the model is told of the past."""

from collections.abc import Iterable
from typing import Any

from runner.models.attached import reference


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
                items.append({"role": "user", "content": shown_content(message["content"])})
            case "assistant":
                items += _assistant(message, answered)
            case "tool" if message["toolCallId"] in asked:
                items.append(
                    {
                        "type": "function_call_output",
                        "call_id": message["toolCallId"],
                        "output": text_of(message["content"]),
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


def text_of(content: Any) -> str:
    """All text of some content, its parts one below the other."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content if part.get("type") == "text")


def shown_content(content: Any) -> str | list[dict[str, Any]]:
    """What a person says; files are references, which the model call puts bytes in the place of."""
    if isinstance(content, str) or not any(_file_of(part) for part in content):
        return text_of(content)
    return [_part(part) for part in content if part.get("type") == "text" or _file_of(part)]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    id_ = _file_of(part)
    if id_ is None:
        return {"type": "input_text", "text": part.get("text", "")}
    about = part.get("metadata") or {}
    if part["type"] == "image":
        detail = about.get("detail", "auto")
        return {"type": "input_image", "image_url": reference(id_), "detail": detail}
    name = about.get("name") or id_
    return {"type": "input_file", "file_data": reference(id_), "filename": name}


def _file_of(part: dict[str, Any]) -> str | None:
    """The id of the file that a part shows."""
    source = part.get("source") or {}
    return source.get("value") if source.get("type") == "file" else None
