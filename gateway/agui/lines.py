"""Events as lines of a stream, and as clients before AG-UI 1.0 understand them.

Those fail at what came with 1.0, and say nothing of their version in their input.
"""

from typing import Any

import orjson

from gateway.following import Happening
from gateway.openai.completion import LINE_ENDS
from shared.protocol.record import InterruptReason


def line(happened: Happening, *, older: bool) -> bytes:
    """One server-sent event under its cursor; nothing where an older client cannot take it."""
    event: dict[str, Any] | None = for_frontends(happened.event)
    event = for_older(event) if older and event else event
    if event is None:
        return b""
    data = orjson.dumps(event).decode().translate(LINE_ENDS)
    id_ = f"id: {happened.at}\n" if happened.at else ""
    return f"{id_}data: {data}\n\n".encode()


def for_frontends(event: dict[str, Any]) -> dict[str, Any]:
    """The end of a run that waits for its client's own tools, as AG-UI's clients expect it.

    To them such calls are no interrupt: a run that leaves nothing else open is a success, which
    names them. What we call it stands in the metadata.
    """
    outcome = event.get("outcome") or {}
    asks = outcome.get("interrupts") or ()
    theirs = [one for one in asks if one.get("reason") == InterruptReason.CLIENT_TOOL]
    if event["type"] != "RUN_FINISHED" or not theirs:
        return event
    left = [one for one in asks if one not in theirs]
    pending = [one["toolCallId"] for one in theirs]
    told = {"interrupts": left} if left else {"pendingToolCallIds": pending}
    metadata = event.get("metadata") or {}
    baton = {**metadata.get("baton", {}), "interrupts": theirs}
    return event | {
        "outcome": {"type": "interrupt" if left else "success", **told},
        "metadata": {**metadata, "baton": baton},
    }


def for_older(event: dict[str, Any]) -> dict[str, Any] | None:
    """The event for a client before 1.0; `None` for one that it does not know.

    What happens inside an agent used as a tool is not told: it would look like the answer.
    """
    kind = event["type"]
    if kind.startswith("SUBAGENT_") or "subagentRunId" in event:
        return None
    outcome = event.get("outcome") or {}
    if kind == "RUN_FINISHED" and (
        outcome.get("type") == "cancelled" or "pendingToolCallIds" in outcome
    ):
        return {key: value for key, value in event.items() if key != "outcome"}
    if kind == "TOOL_CALL_RESULT" and isinstance(event["content"], list):
        return event | {"content": _text(event["content"])}
    if kind == "MESSAGES_SNAPSHOT":
        return event | {"messages": [_plain(one) for one in event["messages"]]}
    return event


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    if message["role"] == "tool" and isinstance(message["content"], list):
        return message | {"content": _text(message["content"])}
    return message


def _text(parts: list[dict[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if part.get("type") == "text")
