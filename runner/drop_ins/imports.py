"""Importing an agent's code under module names of its own: `baton_agents.<name>_<digest>.…`.

Its modules import each other as they would from a script's folder, `import helpers` and relatively,
also from inside functions at run time. Only they do: two agents may have siblings of one name,
two versions of an agent live side by side, `sys.path` and bare names in `sys.modules` stay as they
were. For that, executed modules have builtins of their own, whose `__import__` knows the siblings,
and whose `print` writes to the log.
"""

import builtins
import importlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any

from runner.drop_ins.rules import EVERYTHING, NotAllowedError, require_allowed_import
from runner.drop_ins.source import Source
from shared.settings.security import AgentRules
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import RULES_REFUSED

log = get_logger(__name__)

PACKAGE = "baton_agents"
_INIT = "__init__.py"
#: What the module of an agent's file is called, also where the file is `My-agent 2.0.py`.
_MAIN = "agent"


def import_source(source: Source, rules: AgentRules = EVERYTHING) -> ModuleType:
    """The module of an agent's file, executed; `rules` hold for what its code imports.

    Raises:
        BaseException: whatever its code raises.
    """
    package = package_of(source)
    _install()
    _forget(package)
    _known[package] = _Own(source, package, rules)
    try:
        return importlib.import_module(f"{package}.{_MAIN}")
    except BaseException:
        _forget(package)
        raise


def unload(module: ModuleType) -> None:
    """Drop an agent's modules, unless the same code has been imported anew."""
    loader = module.__spec__.loader if module.__spec__ else None
    if isinstance(loader, _Loader) and _known.get(loader.own.package) is loader.own:
        _forget(loader.own.package)


def hold_to(rules: AgentRules) -> None:
    """From now on these hold for what all code here imports, also for what was loaded before."""
    for own in _known.values():
        own.rules = rules


def package_of(source: Source) -> str:
    """The package that an agent's modules are in; its own for each name and digest."""
    word = re.sub(r"\W", "_", source.name, flags=re.ASCII)
    if word != source.name:  # `a/b` and `a_b` may have the same content
        word += f"_{sha256(source.name.encode()).hexdigest()[:6]}"
    return f"{PACKAGE}.{word}_{source.digest[:12]}"


def _forget(package: str) -> None:
    _known.pop(package, None)
    for name in [one for one in sys.modules if one == package or one.startswith(f"{package}.")]:
        del sys.modules[name]


class _Own:
    """One version of an agent, and how its modules are found and executed."""

    def __init__(self, source: Source, package: str, rules: AgentRules) -> None:
        self.source, self.package = source, package
        self._tops, self.rules = source.own_modules(), rules
        self.builtins = dict(vars(builtins)) | {
            "__import__": self._import,
            "print": _printing(source.name),
        }

    def spec(self, name: str) -> ModuleSpec:
        """Of a module inside the package.

        Raises:
            ModuleNotFoundError: there is no such file.
        """
        below = name.removeprefix(self.package).lstrip(".").replace(".", "/")
        if not below:  # the package itself is the folder, and has no code
            return self._folder(name, "")
        if below == _MAIN:
            return self._file(name, self.source.file.name)
        if (path := f"{below}/{_INIT}") in self.source.python:
            spec = self._file(name, path)
            spec.submodule_search_locations = [str(self.source.folder / below)]
            return spec
        if (path := f"{below}.py") in self.source.python:
            return self._file(name, path)
        if any(path.startswith(f"{below}/") for path in self.source.python):
            return self._folder(name, below)
        # None would have the folder searched as it is now.
        raise ModuleNotFoundError(f"No module named {below.replace('/', '.')!r}", name=name)

    def _file(self, name: str, path: str) -> ModuleSpec:
        file = str(self.source.folder / path)
        spec = ModuleSpec(name, _Loader(name, file, self, path), origin=file)
        spec.has_location = True
        return spec

    def _folder(self, name: str, below: str) -> ModuleSpec:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(self.source.folder / below)]
        return spec

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - as the language has it
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or top not in self._tops:
            if not level:
                self._require(name, fromlist or ())
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        own = f"{self.package}.{name}"
        if fromlist:
            return builtins.__import__(own, globals, locals, fromlist, 0)
        importlib.import_module(own)
        return sys.modules[f"{self.package}.{top}"]

    def _require(self, name: str, parts: Sequence[str]) -> None:
        try:
            require_allowed_import(name, parts, self.rules)
        except NotAllowedError as error:
            RULES_REFUSED.labels(error.rule).inc()
            raise


class _Loader(SourceFileLoader):
    """Executes what was read, never what lies there now, and leaves no bytecode behind."""

    def __init__(self, name: str, file: str, own: _Own, path: str) -> None:
        super().__init__(name, file)
        self.own, self._path = own, path

    def exec_module(self, module: ModuleType) -> None:
        """See Loader."""
        vars(module)["__builtins__"] = self.own.builtins
        super().exec_module(module)

    def get_code(self, fullname: str) -> Any:  # noqa: ARG002 - the base class has it
        """Bytecode is found by a time in seconds, within which a file can be saved twice."""
        return self.source_to_code(self.own.source.python[self._path], self.path)

    def get_data(self, path: str) -> bytes:
        """Its own source as it was read; data beside it as it is."""
        if path == self.path:
            return self.own.source.python[self._path]
        return super().get_data(path)


class _Finder(MetaPathFinder):
    """Finds the modules of agents, and no others."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - what the base class has
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """See MetaPathFinder."""
        if not fullname.startswith(f"{PACKAGE}."):
            return None
        own = _known.get(".".join(fullname.split(".")[:2]))
        return own.spec(fullname) if own else None


_known: dict[str, _Own] = {}
_finder = _Finder()


def _install() -> None:
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    if PACKAGE not in sys.modules:
        sys.modules[PACKAGE] = made = ModuleType(PACKAGE, "The agents' code.")
        made.__path__ = []


def _printing(agent: str) -> Callable[..., None]:
    """`print` of an agent's code: a line of the log for each line, unless it goes to a file."""

    def to_log(
        *values: object, sep: str | None = " ", end: str | None = "\n", **where: Any
    ) -> None:
        if where.get("file") not in (None, sys.stdout, sys.stderr):
            print(*values, sep=sep, end=end, **where)
            return
        text = (" " if sep is None else sep).join(map(str, values))
        for line in text.splitlines():
            log.info("printed by an agent", agent=agent, line=line)

    return to_log
