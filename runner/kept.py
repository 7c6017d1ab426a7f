"""The code that runs began with: kept beside the newest, for as long as a run needs it.

A run that is taken over after a deploy goes on with the code it began with, wherever that is still
there. Code comes from the folder of agents and from here, never out of SQL or Redis.
"""

import contextlib
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from runner.drop_ins.find import FILE, YAML
from runner.drop_ins.source import Source, code_files
from shared.protocol.ids import uuid7
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

#: Others of this machine may serve it, or be about to begin a run with it.
KEPT_ANYWAY_S = 86_400


class KeptCode:
    """`<folder>/<digest>/<name>`: copies of agents' folders, by the digest of what is in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, source: Source) -> None:
        """Copy an agent's code, unless it is here; a copy that fails costs later take-overs."""
        target = self._place(source.name, source.digest)
        if target.is_dir():
            return
        half = target.with_name(f".{uuid7().hex}")  # beside it, so that it can be renamed
        try:
            half.mkdir(parents=True)
            for file in [source.file] if source.single else code_files(source.folder):
                path = file.relative_to(source.folder)
                (half / path).parent.mkdir(parents=True, exist_ok=True)
                if (content := source.python.get(path.as_posix())) is not None:
                    (half / path).write_bytes(content)
                else:
                    shutil.copyfile(file, half / path)
            half.rename(target)
        except OSError as error:
            shutil.rmtree(half, ignore_errors=True)
            if not target.is_dir():  # another runner of this machine may have been faster
                log.warning(
                    "an agent's code could not be kept", agent=source.name, error=str(error)
                )

    def find(self, name: str, digest: str) -> Path | None:
        """The file of an agent's former code."""
        if len(digest) != 64 or not digest.isalnum():
            return None
        folder = self._place(name, digest)
        files = (folder / FILE, folder / f"{name}.py", folder / YAML)
        return next((file for file in files if file.is_file()), None)

    def _place(self, name: str, digest: str) -> Path:
        """Names of agents in folders have slashes."""
        return self.folder / digest / name.replace("/", "%2F")

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
