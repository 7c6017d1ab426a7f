"""Whether what a client sends as a JSON schema is one.

Patterns are taken as JavaScript has them, for that is where most schemas come from. The check is
jsonschema-rs', because jsonschema itself would hold up everybody else: it takes two milliseconds
for each property.
"""

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema_rs import Draft202012Validator as Checker

#: What the schema is an instance of; nothing that it refers to is fetched.
_CHECKER = Checker(Draft202012Validator.META_SCHEMA, validate_formats=True)


def is_schema(given: Any) -> bool:
    """Whether it is a JSON schema of draft 2020-12."""
    return _CHECKER.is_valid(given)
