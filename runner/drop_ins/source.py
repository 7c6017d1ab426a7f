"""An agent's code as it was at one moment: read once, known by its digest.

What is imported later, from inside a function at run time too, comes from here: a file that has
changed meanwhile belongs to another digest.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from errno import ENOENT
from fnmatch import fnmatchcase
from pathlib import Path

from runner.drop_ins.find import FILE, YAML, file_in

#: What is part of an agent's code: every file of its folder but these.
_NOT_CODE = ("__pycache__", ".git")
#: What editors write beside a file while it is edited.
_TEMPORARY = ("*~", ".*.sw?", "#*#", ".#*", "4913", "*.tmp", "___jb_*___", ".goutputstream-*")


class LeadsOutError(Exception):
    """A file of an agent's folder lies elsewhere."""

    def __init__(self, link: Path) -> None:
        super().__init__(f"{link} is a link that leads out of the folder of agents")


@dataclass(frozen=True, slots=True)
class Source:
    """All of an agent's code, in memory as far as it is Python."""

    name: str
    #: The file with the export, and the folder that modules are looked for in.
    file: Path
    folder: Path
    digest: str
    #: Path below the folder → content.
    python: Mapping[str, bytes]
    #: Content of the file that says what people are told of it.
    overrides: bytes | None = None

    @property
    def single(self) -> bool:
        """Whether its file is all of its code."""
        return self.file.name not in (FILE, YAML)

    @property
    def declared(self) -> bool:
        """Whether it is defined without code."""
        return self.file.name == YAML

    def own_modules(self) -> frozenset[str]:
        """Names that mean modules of the agent's own folder."""
        tops = {path.partition("/")[0].removesuffix(".py") for path in self.python}
        return frozenset(tops - _NEVER_OWN)


#: No file beside an agent stands for the SDK, or for ours.
_NEVER_OWN = frozenset({"agents", "baton"})


def read_source(name: str, file: Path, root: Path | None = None) -> Source:
    """Read an agent's code; links may lead as far as `root`.

    Raises:
        OSError: a file cannot be read.
        LeadsOutError: a file lies outside of `root`.
    """
    single = file.name not in (FILE, YAML)
    folder = file.parent
    inside = (root or folder).resolve()
    total, read = hashlib.sha256(), dict[str, bytes]()
    for one in [file] if single else code_files(folder):
        if not one.resolve().is_relative_to(inside):
            raise LeadsOutError(one)
        path = one.relative_to(folder).as_posix()
        total.update(f"{path}\0".encode())
        if one.suffix == ".py" or path == YAML:
            read[path] = one.read_bytes()
            total.update(hashlib.sha256(read[path]).digest())
        else:
            with one.open("rb") as data:
                total.update(hashlib.file_digest(data, "sha256").digest())
    if file.name not in read:
        raise FileNotFoundError(ENOENT, "it was deleted just now", str(file))
    overrides = read.pop(YAML, None)
    return Source(name, file, folder, total.hexdigest(), read, overrides)


def code_files(folder: Path) -> list[Path]:
    """All files of an agent's folder in order; folders inside that are agents have their own."""
    return sorted(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        inside = Path(place)
        folders[:] = [one for one in folders if one not in _NOT_CODE and not file_in(inside / one)]
        for name in files:
            if name not in _NOT_CODE and not is_temporary(name) and (inside / name).is_file():
                yield inside / name


def is_temporary(name: str) -> bool:
    """Whether an editor has made this file, to remove it again."""
    return any(fnmatchcase(name, pattern) for pattern in _TEMPORARY)
