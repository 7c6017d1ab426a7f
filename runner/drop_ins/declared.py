"""An `agent.yaml` alone defines an agent: what the SDK's `Agent` is made of, written down.

It may hand off to further agents of the same file. Their tools are toolsvc's, by name; what needs
code (own tools, guardrails, hooks) needs an `agent.py`.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any

import yaml
from agents import Agent
from pydantic import Field, StringConstraints

from baton import gateway_tool
from runner.drop_ins.overrides import MOST_DESCRIBED, Overrides, ToolNames
from runner.drop_ins.overrides import part_of as part_of_overrides
from runner.drop_ins.written_output import WrittenOutput, why_no_schema
from shared.settings.yaml_file import Part, YamlFileError, line_of, parse_yaml
from shared.wording import ended

_Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Declared(Part):
    """One agent."""

    #: What the model is told.
    instructions: Annotated[str, StringConstraints(min_length=1, max_length=200_000)]
    #: As in `Agent(model=…)`; the installation's default unless given.
    model: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    #: Tools of toolsvc.
    tools: ToolNames = ()
    #: Names of agents of this file.
    handoffs: Annotated[tuple[_Name, ...], Field(max_length=100, strict=False)] = ()
    #: What others are told who may hand off to it.
    handoff_description: Annotated[str, StringConstraints(max_length=MOST_DESCRIBED)] | None = None
    #: A JSON schema of an object: answers are such objects, and no text.
    output: dict[str, Any] | None = None


class Declaration(Overrides, Declared):
    """The whole file: the first agent, what people are told of it, and the others."""

    #: What the first agent is called; the last part of its id unless given.
    name: _Name | None = None
    tools: ToolNames = ()
    agents: dict[_Name, Declared] = Field({}, max_length=100)

    def overrides(self) -> Overrides:
        """What is not about the agents themselves; its runs may call the tools that they have."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        kept = {name: one for name, one in said.items() if name in Overrides.model_fields}
        tools = dict.fromkeys(tool for one in (self, *self.agents.values()) for tool in one.tools)
        return Overrides(**kept | {"tools": tuple(tools)})


def read_declaration(written: bytes, file: str, name: str) -> tuple[Declaration, Agent[Any]]:
    """What the file says, and the agent that it makes; `name` is the agent's id.

    Raises:
        YamlFileError: something in it is wrong.
    """
    text = written.decode("utf-8", "replace")
    declaration, tree = parse_yaml(text, file, Declaration, _part_of)
    first = declaration.name or name.rpartition("/")[2]
    if reasons := list(_wrong(declaration, first, tree, file)):
        raise YamlFileError(reasons)
    return declaration, _made(first, declaration)


def _part_of(place: list[str]) -> type[Part] | None:
    if len(place) == 1:
        return Declaration
    if place[0] == "agents":
        return Declared if len(place) == 3 else None
    return part_of_overrides(place)


def _all(first: str, declaration: Declaration) -> Mapping[str, Declared]:
    return {first: declaration, **declaration.agents}


def _wrong(declaration: Declaration, first: str, tree: yaml.Node, file: str) -> Iterator[str]:
    """What the types do not tell: names that there are not, and schemas that are none."""
    if first in declaration.agents:
        yield _sentence(tree, file, ["agents", first], "the first agent is called so already")
    known = _all(first, declaration)
    for name, one in known.items():
        at = [] if one is declaration else ["agents", name]
        for number, target in enumerate(one.handoffs):
            if target not in known:
                near = get_close_matches(target, known, n=1)
                meant = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(known)}."
                why = f"there is no agent {target!r} in this file{meant}"
                yield _sentence(tree, file, [*at, "handoffs", str(number)], why)
        if one.output is not None and (bad := why_no_schema(one.output)):
            yield _sentence(tree, file, [*at, "output"], bad)


def _sentence(tree: yaml.Node, file: str, place: list[str], why: str) -> str:
    return ended(f"{file}, line {line_of(tree, place)}: {'.'.join(place)}: {why}")


def _made(first: str, declaration: Declaration) -> Agent[Any]:
    known = _all(first, declaration)
    made = {name: _agent(name, one) for name, one in known.items()}
    for name, one in known.items():
        made[name].handoffs = [made[target] for target in one.handoffs]
    return made[first]


def _agent(name: str, one: Declared) -> Agent[Any]:
    return Agent(
        name=name,
        instructions=one.instructions,
        model=one.model,
        tools=[gateway_tool(tool) for tool in one.tools],
        handoff_description=one.handoff_description,
        output_type=None if one.output is None else WrittenOutput(name, one.output),
    )
