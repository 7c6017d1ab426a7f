"""The code that runs began with: kept beside the newest, for as long as a run needs it.

A run that is taken over after a deploy goes on with the code it began with, wherever that is still
there. Code comes from the folder of agents and from here, never out of SQL or Redis.
"""

import contextlib
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from shared.protocol.ids import uuid7
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

#: Others of this machine may serve it, or be about to begin a run with it.
KEPT_ANYWAY_S = 86_400


class KeptCode:
    """`<folder>/<digest>/<name>`: copies of agents' folders, by the digest of what is in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, name: str, digest: str, source: Path) -> None:
        """Copy an agent's folder, unless it is here; a copy that fails costs later take-overs."""
        target = self.folder / digest / name
        if target.is_dir():
            return
        half = target.with_name(f".{uuid7().hex}")  # beside it, so that it can be renamed
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, half, ignore=shutil.ignore_patterns("__pycache__", ".git"))
            half.rename(target)
        except OSError as error:
            shutil.rmtree(half, ignore_errors=True)
            if not target.is_dir():  # another runner of this machine may have been faster
                log.warning("an agent's code could not be kept", agent=name, error=str(error))

    def find(self, name: str, digest: str) -> Path | None:
        """The folder of an agent's former code."""
        found = self.folder / digest / name
        return found if len(digest) == 64 and digest.isalnum() and found.is_dir() else None

    def digests(self) -> list[str]:
        """Of all the code that is kept."""
        with contextlib.suppress(OSError):
            return [one.name for one in self.folder.iterdir() if not one.name.startswith(".")]
        return []

    def forget(self, but: Collection[str]) -> None:
        """Drop what is old and needed by no run; `but` names digests."""
        with contextlib.suppress(OSError):
            for one in list(self.folder.iterdir()):
                old = time.time() - one.stat().st_mtime > KEPT_ANYWAY_S
                if old and one.name not in but:
                    shutil.rmtree(one, ignore_errors=True)
