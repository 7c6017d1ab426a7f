"""The form of an answer, written down as a JSON schema: what `output_type` is for a class."""

from copy import deepcopy
from typing import Any

import jsonschema
import orjson
from agents import AgentOutputSchemaBase, ModelBehaviorError, UserError
from agents.strict_schema import ensure_strict_json_schema

_VALIDATOR = jsonschema.Draft202012Validator


def why_no_schema(given: dict[str, Any]) -> str | None:
    """What is wrong with a schema; `None` where it can be the form of an answer."""
    if given.get("type") != "object":
        return "an answer's schema has `type: object`"
    try:
        _VALIDATOR.check_schema(given)
    except jsonschema.SchemaError as error:
        place = ".".join(str(part) for part in error.absolute_path)
        return f"it is no JSON schema: {place or 'it'}: {error.message[:200]}"
    return None


class WrittenOutput(AgentOutputSchemaBase):
    """Answers are objects of this schema; strict, where a model server could hold itself to it."""

    def __init__(self, agent: str, given: dict[str, Any]) -> None:
        self._name, self._validator = f"output of {agent}", _VALIDATOR(given)
        try:
            self._schema, self._strict = ensure_strict_json_schema(deepcopy(given)), True
        except UserError:
            self._schema, self._strict = given, False

    def is_plain_text(self) -> bool:
        """See AgentOutputSchemaBase."""
        return False

    def name(self) -> str:
        """See AgentOutputSchemaBase."""
        return self._name

    def json_schema(self) -> dict[str, Any]:
        """See AgentOutputSchemaBase."""
        return self._schema

    def is_strict_json_schema(self) -> bool:
        """See AgentOutputSchemaBase."""
        return self._strict

    def validate_json(self, json_str: str) -> Any:
        """The object that a model has written.

        Raises:
            ModelBehaviorError: it is none, or not of the schema.
        """
        try:
            value = orjson.loads(json_str)
            self._validator.validate(value)
        except orjson.JSONDecodeError as error:
            raise ModelBehaviorError(f"The answer is no JSON: {error}") from error
        except jsonschema.ValidationError as error:
            raise ModelBehaviorError(f"The answer is not of the schema: {error.message}") from error
        return value
