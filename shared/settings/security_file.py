"""`security.yaml` while a process runs: a change counts, a mistake leaves what was said before.

Who changes it need not restart anything. A file that is half-written may read as one with fewer
rules, so a change is read when a second look finds the same file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from shared.settings.security import AgentRules
from shared.settings.yaml_file import YamlFileError
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import RULES_READ

log = get_logger(__name__)

R = TypeVar("R", bound=AgentRules)

#: Between two looks; two of them and what follows take less than the two seconds of a hot reload.
LOOK_EVERY_S = 0.3
#: Under which name a mistake is told where broken agents are.
NAME = "security.yaml"

_Stamp = tuple[int, int, int] | None


class SecurityFile(Generic[R]):
    """The rules that count, and what is wrong with the file as it is now."""

    def __init__(self, path: Path, read: Callable[[Path], R], rules: R) -> None:
        self.rules = rules
        #: One sentence with file and line; `None` where the rules are those of the file.
        self.problem: str | None = None
        self._path, self._read = path, read
        self._known = self._seen = _stamp_of(path)

    def look(self) -> bool:
        """Look at the file; whether the rules, or what is wrong, are others than before."""
        stamp, before = _stamp_of(self._path), self._seen
        self._seen = stamp
        if stamp == self._known or stamp != before:
            return False
        self._known = stamp
        rules, problem = self.rules, self.problem
        self._take(gone=stamp is None)
        return (self.rules, self.problem) != (rules, problem)

    def _take(self, *, gone: bool) -> None:
        self.problem = None
        try:
            if gone:
                why = f"{self._path} is gone; write {{}} into it where nothing is to be refused."
                raise YamlFileError([why])
            self.rules = self._read(self._path)
        except YamlFileError as error:
            self.problem = f"{error} What it said before still counts."
        if self.problem is not None:
            RULES_READ.labels("refused").inc()
            log.error("the file of rules cannot be used", reason=self.problem)
            return
        RULES_READ.labels("taken").inc()
        log.info("the file of rules has changed", file=str(self._path))


def _stamp_of(path: Path) -> _Stamp:
    """Something that differs when the file does; `None` where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
