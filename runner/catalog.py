"""The agents of this runner: what is served, what is not and why, and former code."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from baton.tools import know
from runner.drop_ins.aliases import refuse_clashes
from runner.drop_ins.find import find
from runner.drop_ins.load import LoadedAgent, Tools, load
from runner.drop_ins.reason import reason_of
from runner.drop_ins.rules import EVERYTHING
from runner.drop_ins.source import Source, read_source
from runner.kept import KeptCode
from shared.settings.security import AgentRules
from shared.telemetry.logs import get_logger

log = get_logger(__name__)


@dataclass(slots=True)
class Catalog:
    """What a runner serves, and what it could not load (name → reason).

    An agent that was saved broken is in both: its last good version serves.
    """

    kept: KeptCode
    tools: Tools = field(default_factory=dict)
    rules: AgentRules = EVERYTHING
    #: What is wrong with the file of rules as it is now.
    rules_problem: str | None = None
    agents: dict[str, LoadedAgent] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    #: Where the served ones were found, and their code.
    files: dict[str, Path] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    #: Former code that runs began with, loaded when one of them came, and held by them.
    _former: WeakValueDictionary[tuple[str, str], LoadedAgent] = field(
        default_factory=WeakValueDictionary
    )

    def know(self, tools: Sequence[dict[str, Any]]) -> None:
        """Take toolsvc's catalogue of tools, for what is loaded from here on."""
        known = {tool["name"]: tool for tool in tools}
        self.tools.update(known)  # never empty meanwhile: a thread may be importing former code
        for gone in self.tools.keys() - known.keys():
            del self.tools[gone]
        know(known)

    def serve(self, source: Source, loaded: LoadedAgent) -> None:
        """Serve an agent from now on; runs under way hold what they began with."""
        if (before := self.agents.get(source.name)) is not None:
            self._former[before.name, before.digest] = before
        self.agents[source.name] = loaded
        self.files[source.name], self.sources[source.name] = source.file, source
        self.broken.pop(source.name, None)

    def refuse(self, name: str, reason: str) -> None:
        """Tell why an agent's newest version is not served."""
        self.broken[name] = reason
        log.error("an agent could not be loaded", agent=name, reason=reason)

    def forget(self, name: str) -> None:
        """An agent's file is gone."""
        self._drop(name)
        self.broken.pop(name, None)

    def withdraw(self, name: str, reason: str) -> None:
        """Serve an agent no longer, which is there; runs under way hold what they began with."""
        self._drop(name)
        self.refuse(name, reason)

    def _drop(self, name: str) -> None:
        self.agents.pop(name, None)
        self.files.pop(name, None)
        self.sources.pop(name, None)

    def aliases(self, name: str) -> tuple[str, ...]:
        """The aliases of an agent as it is served."""
        served = self.agents.get(name)
        return served.overrides.aliases if served else ()

    def at_hand(self, name: str, digest: str | None) -> bool:
        """Whether `of` answers without importing anything."""
        newest = self.agents.get(name)
        return (
            digest is None
            or (newest is not None and newest.digest == digest)
            or (name, digest) in self._former
        )

    def of(self, name: str, digest: str | None) -> LoadedAgent | None:
        """The agent with the code that a run began with, else with the newest."""
        newest = self.agents.get(name)
        if digest is None or (newest is not None and newest.digest == digest):
            return newest
        return self._former_code(name, digest) or newest

    def _former_code(self, name: str, digest: str) -> LoadedAgent | None:
        if (known := self._former.get((name, digest))) is not None:
            return known
        file = self.kept.find(name, digest)
        if file is None:
            return None
        try:
            source = read_source(name, file)
            if source.digest != digest:
                log.warning("former code was changed where it is kept", agent=name, digest=digest)
                return None
            loaded = load(source, self.tools, self.rules)
        except BaseException as error:  # noqa: BLE001 - others' code may raise anything
            log.warning("former code could not be loaded", reason=reason_of(error, file))
            return None
        self._former[name, digest] = loaded
        return loaded


def load_catalog(
    folders: Sequence[Path],
    tools: Sequence[dict[str, Any]],
    kept: KeptCode,
    rules: AgentRules = EVERYTHING,
) -> Catalog:
    """Load every agent of these folders here and now; `tools` is toolsvc's catalogue."""
    catalog = Catalog(kept, rules=rules)
    catalog.know(tools)
    found = find(folders)
    refuse_clashes(found)
    for name, reason in found.refused.items():
        catalog.refuse(name, reason)
    for name, one in found.agents.items():
        try:
            source = read_source(name, one.file, one.root)
            catalog.serve(source, load(source, catalog.tools, rules))
            kept.keep(source)
        except BaseException as error:  # noqa: BLE001 - others' code may raise anything
            catalog.refuse(name, reason_of(error, one.file))
    return catalog
