"""`agent.yaml` beside an agent's file: what people are told of it, and who may do what with it."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from shared.protocol.ids import LONGEST_AGENT_NAME
from shared.settings.access import Access, Allowance
from shared.settings.yaml_file import Part, parse_yaml

#: Characters of a description.
MOST_DESCRIBED = 2000

_Line = Annotated[str, StringConstraints(min_length=1, max_length=200)]


def _model_id(alias: str) -> str:
    if not alias.isprintable() or alias != alias.strip():
        raise ValueError("a model id has printable characters, and no space around them")
    return alias


_ModelId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_AGENT_NAME),
    AfterValidator(_model_id),
]
ToolNames = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=128)], ...],
    Field(max_length=200, strict=False),
]


class Overrides(Part):
    """The whole file; what it does not say is as the code has it."""

    title: _Line | None = None
    description: Annotated[str, StringConstraints(max_length=MOST_DESCRIBED)] | None = None
    #: What one might say first.
    starters: tuple[_Line, ...] = Field((), max_length=10, strict=False)
    #: Further model ids.
    aliases: tuple[_ModelId, ...] = Field((), max_length=20, strict=False)
    #: Who sees and uses it.
    access: Access = Access()
    #: Toolsvc's tools that its runs may call; `None`: all.
    tools: ToolNames | None = None
    #: Whether tools that a client brings along are offered to the model.
    client_tools: bool = False
    #: Whether a client may add to its instructions.
    client_instructions: bool = True
    #: For each person.
    limits: Allowance = Allowance()

    def said(self) -> dict[str, Any]:
        """The fields that the file has; what it says of clients is told as capabilities."""
        of_clients = {"client_tools", "client_instructions"}
        return self.model_dump(mode="json", exclude_unset=True, exclude=of_clients)


def read_overrides(written: bytes | None, file: str) -> Overrides:
    """What the file says; none says nothing.

    Raises:
        YamlFileError: something in it is wrong.
    """
    if written is None:
        return Overrides()
    return parse_yaml(written.decode("utf-8", "replace"), file, Overrides, part_of)[0]


_PARTS: dict[str, type[Part]] = {"access": Access, "limits": Allowance}


def part_of(place: list[str]) -> type[Part] | None:
    """What a field at this place would be one of."""
    return Overrides if len(place) == 1 else _PARTS.get(place[0])
