"""A plausible JSON answer for agents that have an output type."""

from typing import Any

import orjson

#: Schemas may refer to themselves; deeper than this, optional parts are left out.
_MAX_DEPTH = 8


def answer(schema: dict[str, Any], text: str) -> str:
    """The smallest JSON value that fits the schema, with `text` wherever it wants a string."""
    return orjson.dumps(_value(schema, schema, text, 0)).decode()


def _value(schema: object, root: dict[str, Any], text: str, depth: int) -> object:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return None
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "properties" in schema:
        members = schema["properties"].items()
        return {name: _value(each, root, text, depth + 1) for name, each in members}
    if "items" in schema:
        return [_value(schema["items"], root, text, depth + 1)]
    return _simple(schema, text)


def _simple(schema: dict[str, Any], text: str) -> object:
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "string":
            return text
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "object":
            return {}
        case _:
            return None


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Follow `$ref` into `$defs`, and take the first of several shapes."""
    for _ in range(_MAX_DEPTH):
        shapes = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if isinstance(schema.get("$ref"), str):
            name = schema["$ref"].rpartition("/")[2]
            schema = (root.get("$defs") or {}).get(name) or {}
        elif shapes:
            schema = shapes[0]
        else:
            break
    return schema
