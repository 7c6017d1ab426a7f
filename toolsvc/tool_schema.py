"""From a tool's typed parameters to JSON Schema, and from a model's JSON back to the parameters.

Two schemas come out of one signature. The *published* one goes to models and keeps to what strict
modes of providers take: every object closed, every property required, optional ones nullable, no
limits of length or value. The *accepted* one decides here: it has the limits, and parameters with a
default may be left out. For a parameter with a default, `null` means "not given".
"""

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError

from shared.wording import first_problem, sentence_of

JSON = dict[str, Any]

_CONFIG = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

#: What strict modes refuse or ignore; the accepted schema keeps them.
_NOT_PUBLISHED = frozenset(
    {
        *("title", "default", "examples", "discriminator", "format", "pattern"),
        *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }
)
#: Without one of these a schema takes anything.
_SAYS_WHAT = frozenset({"type", "anyOf", "oneOf", "allOf", "$ref", "enum", "const"})
_BE_PRECISE = "strict modes refuse that, so name its type or use a pydantic model"


class SignatureError(TypeError):
    """The parameters of a tool cannot be described to a model; the message says why."""


class ArgumentsError(ValueError):
    """Arguments that do not fit; the message names the field."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a tool takes besides its call."""

    published: JSON
    optional: frozenset[str]
    model: type[BaseModel]
    validator: Draft202012Validator

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The values to call the function with.

        Raises:
            ArgumentsError: naming the first field that does not fit.
        """
        given = {
            name: value
            for name, value in arguments.items()
            if value is not None or name not in self.optional
        }
        try:
            problem = next(self.validator.iter_errors(given), None)
            if problem is not None:
                raise ArgumentsError(
                    sentence_of(("arguments", *problem.absolute_path), problem.message)
                )
            read = self.model.model_validate(given)
        except ValidationError as error:
            raise ArgumentsError(first_problem(error, within=["arguments"])) from None
        except RecursionError:
            raise ArgumentsError("arguments: they are nested too deeply.") from None
        return {name: getattr(read, name) for name in read.model_fields_set}


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """Describe every parameter of `function` but the first, which is the call.

    Raises:
        SignatureError: for parameters without a type, `*args`, open objects, and the like.
    """
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        _refuse_odd(parameter, hints)
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    optional = frozenset(name for name, (_, default) in fields.items() if default is not ...)
    model = _model(function.__name__, fields)
    accepted = _closed(model.model_json_schema())
    return Parameters(
        published=_published(accepted, optional),
        optional=optional,
        model=model,
        validator=Draft202012Validator(accepted),
    )


def _model(name: str, fields: dict[str, Any]) -> type[BaseModel]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a parameter may be called like a method of pydantic's
            model: type[BaseModel] = create_model(name, __config__=_CONFIG, **fields)
        model.model_json_schema()
    except (PydanticUserError, NameError, ValueError) as error:
        raise SignatureError(f"its parameters have no JSON Schema: {error}") from None
    return model


def _refuse_odd(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> None:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise SignatureError(f"its parameter {parameter.name!r} must be a plain or keyword one")
    if parameter.name not in hints:
        raise SignatureError(f"its parameter {parameter.name!r} has no type")


def _closed(schema: JSON) -> JSON:
    """The schema with every object closed; objects of unknown content are refused."""
    closed = {name: _each(value, _closed) for name, value in schema.items()}
    if schema.get("type") == "object":
        if "properties" not in schema and (schema.get("additionalProperties", True) is not False):
            raise SignatureError(f"it takes an object of unknown content; {_BE_PRECISE}")
        closed.setdefault("properties", {})
        closed["additionalProperties"] = False
        for name, described in closed["properties"].items():
            _refuse_anything(name, described)
    if schema.get("type") == "array":
        _refuse_anything("items", closed.get("items", {}))
    return closed


def _refuse_anything(name: str, described: JSON) -> None:
    if not _SAYS_WHAT & described.keys():
        raise SignatureError(f"its {name!r} may be anything; {_BE_PRECISE}")


def _published(accepted: JSON, optional: frozenset[str]) -> JSON:
    """What models get to see."""
    published = _strict(accepted)
    for name in optional:
        published["properties"][name] = _nullable(published["properties"][name])
    return published


def _strict(schema: JSON) -> JSON:
    strict: JSON = {}
    for name, value in schema.items():
        if name in ("properties", "$defs"):  # names of the author's, not keywords
            strict[name] = {key: _strict(each) for key, each in value.items()}
        elif name not in _NOT_PUBLISHED:
            strict["anyOf" if name == "oneOf" else name] = _each(value, _strict)
    if "properties" in strict:
        strict["required"] = list(strict["properties"])
    return strict


def _nullable(schema: JSON) -> JSON:
    """The same or null, with the description where models look for it."""
    if {"type": "null"} in schema.get("anyOf", ()):
        return schema
    described = {name: schema[name] for name in ("description",) if name in schema}
    inner = {name: value for name, value in schema.items() if name != "description"}
    return {"anyOf": [inner, {"type": "null"}], **described}


def _each(value: Any, change: Callable[[JSON], JSON]) -> Any:
    """`value` with `change` made to every schema in it."""
    if isinstance(value, dict):
        return change(value)
    if isinstance(value, list):
        return [_each(item, change) for item in value]
    return value
