"""Fits the script's arguments to the parameters a tool really has."""

from typing import Any


def fitted(arguments: dict[str, str], schema: dict[str, Any]) -> dict[str, Any]:
    """The arguments under the tool's own parameter names.

    The script says `{"text": …}`; a person's own `save_note` may call its only required parameter
    `content`. Anything less clear is sent as scripted, and the tool complains.
    """
    properties = schema.get("properties")
    if len(arguments) != 1 or not isinstance(properties, dict) or not properties:
        return dict(arguments)
    (name, value) = next(iter(arguments.items()))
    if name not in properties:
        required = [each for each in schema.get("required") or () if each in properties]
        if len(required) != 1:
            return dict(arguments)
        name = required[0]
    return {name: _typed(value, properties[name])}


def _typed(value: str, schema: object) -> str | int:
    """A note's id is a number for some tools."""
    is_integer = isinstance(schema, dict) and schema.get("type") == "integer"
    return int(value) if is_integer and value.isdecimal() else value
