"""How values of agent code are recorded, and what comes back from a record.

The live path goes through here too, so that a replayed step gives exactly what the live one gave.
"""

import dataclasses
from typing import Any

import orjson
from agents.tool import ToolOutputFileContent, ToolOutputImage, ToolOutputText
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from shared.errors import BatonError
from shared.protocol.codes import Code

#: As much as a tool of toolsvc may return.
MAX_RESULT_BYTES = 10 * 1_048_576
#: The SDK gives these a meaning by their class, so they come back as what they were.
_SDK_OUTPUTS = {
    f"$sdk:{kind.__name__}": kind
    for kind in (ToolOutputText, ToolOutputImage, ToolOutputFileContent)
}


def encode(value: Any, *, what: str = "A tool returned") -> Any:
    """The JSON form of a tool's result.

    Raises:
        BatonError: `agent_error` for a result that JSON cannot carry, or that is too large.
    """
    encoded = plain(value)
    try:
        size = len(orjson.dumps(encoded))
    except TypeError as error:
        raise BatonError(
            Code.AGENT_ERROR,
            f"{what} {type(value).__name__}, which cannot be recorded: {error}.",
        ) from None
    if size > MAX_RESULT_BYTES:
        raise BatonError(
            Code.AGENT_ERROR,
            f"{what} {size:,} bytes, which cannot be recorded: {MAX_RESULT_BYTES:,} can.",
        )
    return encoded


def shown(output: Any) -> Any:
    """The JSON form of an agent's final output, which only people read: nothing need come back.

    Raises:
        BatonError: as `encode`.
    """
    readable = to_jsonable_python(plain(output), bytes_mode="base64", fallback=str)
    return encode(readable, what="The agent's output is")


def decode(plain: Any) -> Any:
    """The value that agent code gets, live and replayed."""
    if isinstance(plain, dict):
        name = next(iter(plain)) if len(plain) == 1 else ""
        if kind := _SDK_OUTPUTS.get(name):
            return kind.model_validate(plain[name])
        return {key: decode(item) for key, item in plain.items()}
    if isinstance(plain, list):
        return [decode(item) for item in plain]
    return plain


def as_text(plain: Any) -> str:
    """How people and models read it: strings as they are, the rest as JSON."""
    if isinstance(plain, str):
        return plain
    text: str = orjson.dumps(plain).decode()
    return text


def plain(value: Any) -> Any:
    """A value in JSON's own types, as far as its own type says how."""
    name = f"$sdk:{type(value).__name__}"
    if name in _SDK_OUTPUTS and isinstance(value, BaseModel):
        return {name: value.model_dump(mode="json")}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
