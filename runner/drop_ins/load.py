"""From an agent's code to what can be run: import it, find what it offers, make it ready."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any
from weakref import finalize

from agents import Agent

from baton.tools import GatewayTool, bind
from runner.drop_ins.context_class import require_context
from runner.drop_ins.declared import read_declaration
from runner.drop_ins.exports import (
    ContextFactory,
    Export,
    Helper,
    RunnerFactory,
    context_factory,
    export_of,
    known_to,
    shared_servers,
)
from runner.drop_ins.find import YAML
from runner.drop_ins.imports import import_source, unload
from runner.drop_ins.overrides import MOST_DESCRIBED, Overrides, read_overrides
from runner.drop_ins.rules import EVERYTHING, require_allowed_agents, require_allowed_text
from runner.drop_ins.source import Source
from runner.mcp_servers import close_shared, share
from runner.theirs import storable
from runner.wrap import wrap_agent
from shared.protocol.ids import LONGEST_AGENT_NAME
from shared.settings.security import AgentRules

#: Of what code says of itself: everybody who lists the agents gets it.
MOST_SUB_AGENTS = 100
#: What toolsvc's tools are, by name.
Tools = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class LoadedAgent:
    """An agent that can be run."""

    name: str
    digest: str
    export: Export
    overrides: Overrides = field(default_factory=Overrides)
    #: What makes the context of each run; without it that is a RunContext.
    context: ContextFactory | None = None

    @property
    def agent(self) -> Agent[Any]:
        """The agent itself, where the file has one rather than code that makes or runs one."""
        if not isinstance(self.export, Agent):
            raise TypeError(f"{self.name} has its agents made or run by its own code")
        return self.export

    def described(self) -> dict[str, Any]:
        """What gateways tell people: AG-UI capabilities, and words for the list."""
        about: dict[str, Any] = storable(self._about(known_to(self.export)) | self.overrides.said())
        return about

    def _about(self, graph: list[Agent[Any]]) -> dict[str, Any]:
        first = self.export if isinstance(self.export, Agent) else None
        others = [
            {"name": one.name[:LONGEST_AGENT_NAME]} for one in (graph[1:] if first else graph)
        ]
        return {
            "name": self.name,
            "title": self.name,
            "description": self._description()[:MOST_DESCRIBED],
            "digest": self.digest,
            "starters": [],
            "capabilities": {
                "identity": {"name": self.name, "type": "openai-agents"},
                "transport": {"streaming": True, "websocket": True, "resumable": True},
                "tools": {
                    "supported": any(one.tools for one in graph),
                    "clientProvided": self.overrides.client_tools,
                },
                "output": {"structuredOutput": bool(first and first.output_type is not None)},
                "multiAgent": {
                    "supported": len(graph) > 1,
                    "delegation": len(graph) > 1,
                    "handoffs": any(one.handoffs for one in graph),
                    "subAgents": others[:MOST_SUB_AGENTS],
                },
                "reasoning": {"supported": True, "streaming": True},
            }
            | (
                {}
                if self.overrides.client_instructions
                else {"custom": {"clientInstructions": False}}
            ),
        }

    def _description(self) -> str:
        if isinstance(self.export, Agent):
            return self.export.handoff_description or ""
        function = self.export.answer if isinstance(self.export, Helper) else self.export.make
        return (function.__doc__ or "").strip().partition("\n")[0]


def load(source: Source, tools: Tools | None, rules: AgentRules = EVERYTHING) -> LoadedAgent:
    """Import an agent's code and make what it offers ready to be run.

    Its modules go when nobody holds the loaded agent any more. Where `tools` is None, any of
    toolsvc's will do.

    Raises:
        BaseException: whatever its code raises, or what it offers is nothing.
    """
    if source.declared:
        return _load_declared(source, tools)
    overrides_file = str(source.folder / YAML)
    overrides = read_overrides(source.overrides, overrides_file)
    _require_tools(overrides, tools, overrides_file)
    require_allowed_text(source, rules)
    module = import_source(source, rules)
    try:
        export, context = export_of(module), context_factory(module)
        share(shared := shared_servers(module))
        if isinstance(export, Agent):  # others bring a context to the runs that they begin
            require_context(known_to(export), context)
        require_allowed_agents(known_to(export), rules, source.file)
        for one in known_to(export):
            if tools is not None:
                bind(one.tools, tools)
            _require_named(one, overrides, overrides_file)
            if not isinstance(export, (Helper, RunnerFactory)):
                wrap_agent(one)
    except BaseException:
        unload(module)
        raise
    loaded = LoadedAgent(source.name, source.digest, export, overrides, context)
    finalize(loaded, close_shared, shared).atexit = False
    finalize(loaded, unload, module).atexit = False
    return loaded


def require_still_allowed(loaded: LoadedAgent, source: Source, rules: AgentRules) -> None:
    """Ask of what was loaded under other rules.

    Raises:
        NotAllowedError: for the first thing that a rule forbids.
    """
    if not source.declared:
        require_allowed_text(source, rules)
        require_allowed_agents(known_to(loaded.export), rules, source.file)


def _load_declared(source: Source, tools: Tools | None) -> LoadedAgent:
    """The agent that an agent.yaml defines alone."""
    file = str(source.file)
    declaration, agent = read_declaration(source.overrides or b"", file, source.name)
    overrides = declaration.overrides()
    _require_tools(overrides, tools, file)
    for one in known_to(agent):
        if tools is not None:
            bind(one.tools, tools)
        wrap_agent(one)
    return LoadedAgent(source.name, source.digest, agent, overrides)


def _require_tools(overrides: Overrides, tools: Tools | None, file: str) -> None:
    """Raise ValueError where `tools` of agent.yaml names one that toolsvc does not have."""
    for name in overrides.tools or ():
        if tools is not None and name not in tools:
            near = get_close_matches(name, tools, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(tools)}"
            raise ValueError(f"{file}: tools: toolsvc has no tool {name!r}{meant}")


def _require_named(agent: Agent[Any], overrides: Overrides, file: str) -> None:
    """Raise ValueError where an agent has a tool of toolsvc that its agent.yaml does not allow."""
    if overrides.tools is None:
        return
    for tool in agent.tools:
        if isinstance(tool, GatewayTool) and tool.name not in overrides.tools:
            raise ValueError(
                f"{agent.name} uses {tool.name!r}, which tools of {file} does not name"
            )
