"""`agent.yaml` beside an agent's file: what people are told of it instead."""

from typing import Annotated

from pydantic import Field, StringConstraints

from shared.settings.yaml_file import Part, parse_yaml

FILE = "agent.yaml"

_Line = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Overrides(Part):
    """The whole file; what it does not say is as the code has it."""

    title: _Line | None = None
    description: Annotated[str, StringConstraints(max_length=2000)] | None = None
    #: What one might say first.
    starters: tuple[_Line, ...] = Field((), max_length=10, strict=False)

    def said(self) -> dict[str, object]:
        """The fields that the file has."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def read_overrides(written: bytes | None, file: str) -> Overrides:
    """What the file says; none says nothing.

    Raises:
        YamlFileError: something in it is wrong.
    """
    if written is None:
        return Overrides()
    text = written.decode("utf-8", "replace")
    return parse_yaml(text, file, Overrides, lambda place: Overrides if len(place) == 1 else None)[
        0
    ]
