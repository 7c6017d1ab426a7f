"""Which agents there are: `<folder>/**/agent.py`, and single files directly in a folder.

Where there is an `agent.yaml` and no `agent.py`, that alone defines one.

A name is the path below the folder (`team/Name`), of a single file its stem. Nothing is read here,
and nothing imported.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.protocol.ids import LONGEST_AGENT_NAME

FILE = "agent.py"
#: What one is told of an agent; alone, what defines it.
YAML = "agent.yaml"
#: Never agents, nor folders that hold any.
_HIDDEN = ("_", ".")


@dataclass(frozen=True, slots=True)
class Found:
    """An agent's place: the file with its export, and the folder that its code lies in."""

    name: str
    file: Path
    #: The folder of agents that it was found in.
    root: Path

    @property
    def single(self) -> bool:
        """Whether this file is all of its code."""
        return self.file.name not in (FILE, YAML)

    @property
    def folder(self) -> Path:
        """Where its modules are."""
        return self.file.parent


@dataclass(frozen=True, slots=True)
class Findings:
    """What may be served, by name, and what is refused (name → reason)."""

    agents: dict[str, Found] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def find(roots: Sequence[Path], serving: Mapping[str, Path] | None = None) -> Findings:
    """All agents of these folders; `serving` tells the files of those that are served already.

    Of agents that claim one name, the one that is served stays, and else none gets it.
    """
    found = Findings()
    claims: dict[str, list[Found]] = {}
    for root in roots:
        for one in _in_folder(root, found.refused):
            claims.setdefault(one.name.casefold(), []).append(one)
    for rivals in claims.values():
        _settle(rivals, found, serving or {})
    return found


def _settle(rivals: list[Found], found: Findings, serving: Mapping[str, Path]) -> None:
    if len(rivals) == 1:
        found.agents[rivals[0].name] = rivals[0]
        return
    files = " and ".join(str(one.file) for one in rivals)
    for one in rivals:
        found.refused[one.name] = (
            f"{files} would be called the same ({', '.join(sorted({r.name for r in rivals}))}); "
            "names have to differ in more than upper and lower case. Rename one of them."
        )
        if serving.get(one.name) == one.file:
            found.agents[one.name] = one


def _in_folder(root: Path, refused: dict[str, str]) -> Iterator[Found]:
    inside = root.resolve()

    def unreadable(error: OSError) -> None:
        folder = Path(error.filename)
        if folder != root:
            refused[_name_of(folder, root)] = f"{folder} cannot be read: {error.strerror}."

    for place, folders, files in os.walk(root, onerror=unreadable):
        folder = Path(place)
        folders[:] = sorted(one for one in folders if _may_be(one))
        for one in list(folders):
            if (link := folder / one).is_symlink():
                folders.remove(one)  # what it leads to inside has a name of its own
                if file_in(link) and not link.resolve().is_relative_to(inside):
                    refused[_name_of(link, root)] = _leads_out(link, root)
        top = folder == root
        for file in _candidates(folder, files, top=top):
            name = _name_of(file.with_suffix("") if top else folder, root)
            if why := _wrong(file, name, root, inside):
                refused[name] = why
            else:
                yield Found(name, file, root)


def file_in(folder: Path) -> Path | None:
    """The file in a folder that makes it an agent's, if there is one."""
    return next((folder / one for one in (FILE, YAML) if (folder / one).is_file()), None)


def _candidates(folder: Path, files: list[str], *, top: bool) -> list[Path]:
    if not top:
        return [folder / one for one in (FILE, YAML) if one in files][:1]
    return [folder / one for one in sorted(files) if one.endswith(".py") and _may_be(one)]


def _may_be(name: str) -> bool:
    return not name.startswith(_HIDDEN)


def _name_of(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _wrong(file: Path, name: str, root: Path, inside: Path) -> str | None:
    if file.parent == root and file.name == FILE:
        return f"{file} has no name: put it into a folder that is called as the agent shall be."
    if not file.is_file():  # which a link in a circle is not either
        return f"{file} is no file that can be read."
    if not file.resolve().is_relative_to(inside):
        return _leads_out(file, root)
    if len(name) > LONGEST_AGENT_NAME or not name.isprintable():
        return f"{file}: a name may have {LONGEST_AGENT_NAME} printable characters."
    return None


def _leads_out(link: Path, root: Path) -> str:
    return f"{link} is a link that leads out of {root}; an agent's code has to lie inside."
