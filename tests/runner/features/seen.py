"""What can be seen of a run, made comparable: ids are numbered in the order they come."""

from dataclasses import dataclass
from typing import Any

import orjson
from agents.testing import ModelCall, ScriptedModel
from pydantic import BaseModel


@dataclass(frozen=True)
class Seen:
    """What a run has come to, and all that the model was asked on the way."""

    final_output: str
    #: Calls of the agents of the run itself, hand-offs among them: tool, and arguments.
    calls: list[tuple[str, str]]
    #: `None` where the author's own code calls the Runner.
    last_agent: str | None
    error: type[Exception] | None
    asked: list[dict[str, Any]]


def asked_of(model: ScriptedModel) -> list[dict[str, Any]]:
    """Instructions, input, tools and output schema of every call."""
    ids: dict[str, str] = {}
    return [_asked(one, ids) for one in model.calls]


def _asked(call: ModelCall, ids: dict[str, str]) -> dict[str, Any]:
    given = call.input
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return {
        "instructions": call.system_instructions,
        "input": [_numbered(one, ids) for one in items],
        "tools": [one.name for one in call.tools],
        "handoffs": [one.tool_name for one in call.handoffs],
        "schema": call.output_schema and call.output_schema.name(),
    }


def _numbered(item: Any, ids: dict[str, str]) -> dict[str, Any]:
    plain = item.model_dump(exclude_unset=True) if isinstance(item, BaseModel) else item
    said: dict[str, Any] = orjson.loads(orjson.dumps(plain))
    said.pop("id", None)
    if "call_id" in said:
        said["call_id"] = ids.setdefault(said["call_id"], f"call {len(ids)}")
    return said
