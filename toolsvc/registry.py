"""The tools that are there: the built-in folder first, then the folders of `BATON_TOOLS_DIR`.

Files are loaded by path. A file that fails is named with its line, and the others serve. Files that
begin with `_` or `.` are never tools; a tool may import them (`from ._helpers import …`).
"""

import importlib
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from shared.settings.security import Rule
from shared.telemetry.logs import get_logger
from toolsvc.tool import Tool

log = get_logger(__name__)

BUILT_IN = Path(__file__).parent / "tools"


#: No rule.
ANY = Rule()


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that cannot serve: where (`file` or `file:line`), and why."""

    where: str
    why: str


@dataclass(frozen=True, slots=True)
class Registry:
    """All tools by name, and what is broken."""

    tools: Mapping[str, Tool]
    broken: tuple[Broken, ...] = ()

    @property
    def scopes(self) -> tuple[str, ...]:
        """Every scope that a tool asks for, sorted."""
        return tuple(sorted({tool.scope for tool in self.tools.values()}))


def load_registry(folders: Iterable[Path] = (), modules: Rule = ANY) -> Registry:
    """The built-in tools and those of `folders`; a name belongs to who has it first.

    A file that the rule for modules refuses is not read at all.
    """
    tools: dict[str, Tool] = {}
    origins: dict[str, Path] = {}
    broken: list[Broken] = []
    for file in _files((BUILT_IN, *folders), broken):
        if why := modules.refusal(file.stem):
            refused = f"security.yaml does not allow the module {file.stem}: tool_modules.{why}"
            broken.append(Broken(str(file), refused))
            continue
        try:
            found = _tools_in(file)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - other people's code
            broken.append(_broken(file, error))
            continue
        if not found:
            broken.append(Broken(str(file), "it has no tool; a helper's name begins with `_`"))
        for tool in found:
            if tool.name in tools:
                why = f"a tool called {tool.name} is already there, in {origins[tool.name]}"
                broken.append(Broken(str(file), why))
                continue
            tools[tool.name], origins[tool.name] = tool, file
    for each in broken:
        log.error("a tool cannot serve", where=each.where, why=each.why)
    return Registry(tools, tuple(broken))


def _files(folders: Iterable[Path], broken: list[Broken]) -> Iterator[Path]:
    for folder in folders:
        if not folder.is_dir():
            broken.append(Broken(str(folder), "there is no such folder"))
            continue
        for file in sorted(folder.resolve().glob("*.py")):
            if not file.name.startswith(("_", ".")):
                yield file


def _tools_in(file: Path) -> list[Tool]:
    """The tools that a file defines, in its order; those it imports belong to another file."""
    package = _package(file.parent)
    name = f"{package}.{file.stem}"
    sys.modules.pop(name, None)
    module = importlib.import_module(name)
    return [
        value
        for value in vars(module).values()
        if isinstance(value, Tool) and value.function.__module__ == name
    ]


def _package(folder: Path) -> str:
    """A package around the folder, so that its files find each other; its `__init__` is not run."""
    name = f"baton_tools_{sha256(str(folder).encode()).hexdigest()[:12]}"
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    importlib.invalidate_caches()
    return name


def _broken(file: Path, error: BaseException) -> Broken:
    """Which line of the file failed, and how."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return Broken(f"{file}:{error.lineno}", f"SyntaxError: {error.msg}")
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(file)
    ]
    where = f"{file}:{lines[-1]}" if lines else str(file)
    return Broken(where, f"{type(error).__name__}: {error}")
