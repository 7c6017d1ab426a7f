"""What git knows of the release before this one."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from agent.errors import CliError


@dataclass(frozen=True, slots=True)
class Checkout:
    """The repository at `root`."""

    root: Path

    def last_tag(self) -> str | None:
        """The newest tag that this commit descends from; `None` before the first release.

        Raises:
            CliError: nobody can know it here.
        """
        if self._git("rev-parse", "--git-dir") is None:
            raise CliError("this is no git checkout, so nobody knows the last tag")
        if tag := self._git("describe", "--tags", "--abbrev=0"):
            return tag
        if self._git("rev-parse", "--is-shallow-repository") == "true":
            raise CliError("this checkout is shallow: `git fetch --tags --unshallow` brings tags")
        return None

    def file_at(self, tag: str, path: Path) -> str | None:
        """A file's text as it was; `None` where it was not there."""
        return self._git("show", f"{tag}:{path.as_posix()}")

    def commit(self) -> str:
        """The present commit in short, and whether something is not in it."""
        found = self._git("rev-parse", "--short=12", "HEAD")
        if found is None:
            return "no commit"
        changed = self._git("status", "--porcelain")
        return f"{found}, with changes that are not committed" if changed else found

    def _git(self, *arguments: str) -> str | None:
        command = ("git", *arguments)
        try:
            done = subprocess.run(  # noqa: S603
                command, cwd=self.root, capture_output=True, text=True, check=False
            )
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None


def may_break(tag: str, version: str) -> bool:
    """Whether the version says, by SemVer, that something may have changed for others."""
    was, now = _numbers(tag), _numbers(version)
    return now[:2] > was[:2] if now[0] == 0 else now[0] > was[0]


def _numbers(version: str) -> list[int]:
    return [int(one) for one in re.findall(r"\d+", version)[:3]] or [0]
