"""The agents of this runner: `<folder>/<Name>/agent.py`, loaded by path, never as a package.

A file that does not load is named with file and line; the others serve.
"""

import hashlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from agents import Agent

from baton.tools import bind
from runner.kept import KeptCode
from runner.theirs import storable
from runner.wrap import reachable, wrap_agent
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

FILE = "agent.py"
EXPORT = "agent"
#: What is part of an agent's code: every file of its folder but these.
_NOT_CODE = ("__pycache__", ".git")


@dataclass(frozen=True, slots=True)
class LoadedAgent:
    """An agent that can be run."""

    name: str
    digest: str
    agent: Agent[Any]

    def described(self) -> dict[str, Any]:
        """What gateways tell people: AG-UI capabilities, and words for the list."""
        graph = reachable(self.agent)
        others = [{"name": one.name} for one in graph[1:]]
        about: dict[str, Any] = storable(self._about(graph, others))
        return about

    def _about(self, graph: list[Agent[Any]], others: list[dict[str, str]]) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.name,
            "description": self.agent.handoff_description or "",
            "digest": self.digest,
            "starters": [],
            "capabilities": {
                "identity": {"name": self.name, "type": "openai-agents"},
                "transport": {"streaming": True, "websocket": True, "resumable": True},
                "tools": {"supported": any(one.tools for one in graph)},
                "output": {"structuredOutput": self.agent.output_type is not None},
                "multiAgent": {
                    "supported": len(graph) > 1,
                    "delegation": len(graph) > 1,
                    "handoffs": any(one.handoffs for one in graph),
                    "subAgents": others,
                },
                "reasoning": {"supported": True, "streaming": True},
            },
        }


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a runner serves, and what it could not load (name → reason)."""

    kept: KeptCode
    tools: dict[str, dict[str, Any]] = field(default_factory=dict)
    agents: dict[str, LoadedAgent] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    #: Former code that runs began with, loaded when one of them came.
    _former: dict[tuple[str, str], LoadedAgent] = field(default_factory=dict)

    def of(self, name: str, digest: str | None) -> LoadedAgent | None:
        """The agent with the code that a run began with, else with the newest."""
        newest = self.agents.get(name)
        if digest is None or (newest is not None and newest.digest == digest):
            return newest
        return self._former_code(name, digest) or newest

    def _former_code(self, name: str, digest: str) -> LoadedAgent | None:
        if (name, digest) in self._former:
            return self._former[name, digest]
        folder = self.kept.find(name, digest)
        if folder is None:
            return None
        if digest_of_folder(folder) != digest:
            log.warning("former code was changed where it is kept", agent=name, digest=digest)
            return None
        try:
            loaded = _load(name, folder / FILE, self.tools)
        except BaseException as error:  # noqa: BLE001 - others' code may raise anything
            log.warning("former code could not be loaded", reason=_reason(error, folder / FILE))
            return None
        self._former[name, digest] = loaded
        return loaded


def load_catalog(folder: Path, tools: list[dict[str, Any]], kept: KeptCode) -> Catalog:
    """Load every agent of a folder; `tools` is toolsvc's catalogue."""
    known = {tool["name"]: tool for tool in tools}
    catalog = Catalog(kept, known)
    for file in sorted(folder.glob(f"*/{FILE}")):
        name = file.parent.name
        if name.startswith(("_", ".")):
            continue
        try:
            catalog.agents[name] = loaded = _load(name, file, known)
            kept.keep(name, loaded.digest, file.parent)
        except BaseException as error:  # noqa: BLE001 - others' code may raise anything
            catalog.broken[name] = reason = _reason(error, file)
            log.error(  # noqa: TRY400 - the reason names file and line; ours need no traceback
                "an agent could not be loaded", agent=name, reason=reason
            )
    return catalog


def _load(name: str, file: Path, tools: dict[str, dict[str, Any]]) -> LoadedAgent:
    digest = digest_of_folder(file.parent)
    module = _import(f"baton_agents_{name}_{digest[:12]}", file)
    agent = getattr(module, EXPORT, None)
    if not isinstance(agent, Agent):
        raise TypeError(f"{FILE} has no `{EXPORT}` that is an Agent")
    for one in reachable(agent):
        bind(one.tools, tools)
    wrap_agent(agent)
    return LoadedAgent(name, digest, agent)


def _import(module_name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def digest_of_folder(folder: Path) -> str:
    """SHA-256 over names and contents of all files of an agent's folder."""
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or any(part in _NOT_CODE for part in file.parts):
            continue
        total.update(f"{file.relative_to(folder).as_posix()}\0".encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _reason(error: BaseException, file: Path) -> str:
    """File, line and error: the last frame inside the agent's own folder tells where."""
    folder = file.parent.resolve()
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve().is_relative_to(folder)
    ]
    where, line = (frames[-1].filename, frames[-1].lineno) if frames else (str(file), None)
    if isinstance(error, SyntaxError) and error.filename:
        where, line = error.filename, error.lineno
    at = f"{where}:{line}" if line else where  # what the file lacks is on no line of it
    return str(storable(f"{at}: {type(error).__name__}: {error}"))
