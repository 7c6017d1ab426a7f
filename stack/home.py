"""The home of one installation: who runs it, what runs in it, what a killed supervisor left.

```
<home>/secrets.json   keys and passwords (stack.credentials)
<home>/lock           held by the running `up`
<home>/running.json   its processes and addresses, for `dev.py redis` and the next start
<home>/valkey/        append-only file
<home>/postgres/      data (as root perhaps a link, see stack.postgres)
```
"""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from stack.errors import StackError
from stack.program import Tier

#: A store that a killed supervisor left gets this long to save what it has.
LEFTOVER_PATIENCE_S = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """One process, so well described that a new owner of its id is not taken for it."""

    pid: int
    argv: tuple[str, ...]
    tier: int
    stop_signal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What `up` is running in a home."""

    supervisor: int
    gateway_url: str
    redis_port: int | None  #: `None`: REDIS_URL was given
    processes: Mapping[str, Started] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `json.dumps(asdict(…))` wrote."""
        value = json.loads(text)
        processes = {
            name: Started(**each | {"argv": tuple(each["argv"])})
            for name, each in value.pop("processes").items()
        }
        return cls(**value, processes=processes)


class Home:
    """The folder of one installation."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def make(self) -> None:
        """Make the folder, closed to others.

        As root it stays passable: `nobody`, who runs Postgres there, has to reach its data; what is
        secret is a file with closed rights of its own.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
        except OSError as error:
            raise StackError(f"{self.path} cannot be used ({error}): choose --home") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the only `up` of this home for the block.

        Raises:
            StackError: another one is running.
        """
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                where = self.running()
                raise StackError(
                    f"{self.path} is in use by another `dev.py up`"
                    + (f" (process {where.supervisor}, {where.gateway_url})" if where else "")
                    + ": stop that one, or choose --home and --port"
                ) from None
            self._end_leftovers()
            try:
                yield
            finally:
                self._file.unlink(missing_ok=True)

    def remember(self, running: Running) -> None:
        """Write down what runs."""
        draft = self._file.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(running), indent=2) + "\n")
        draft.replace(self._file)

    def running(self) -> Running | None:
        """What `up` wrote down last; `None` when nothing runs."""
        try:
            return Running.parse(self._file.read_text())
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def _file(self) -> Path:
        return self.path / "running.json"

    def _end_leftovers(self) -> None:
        """End what a killed supervisor left: the lock is ours, so nobody looks after it.

        Services are ended at once, for they survive that by design; stores may save first.
        """
        left = self.running()
        if left is None:
            return
        alive = [each for each in left.processes.values() if _is_alive(each)]
        for each in alive:
            store = each.tier == Tier.STORE
            with suppress(ProcessLookupError):
                os.kill(each.pid, each.stop_signal if store else signal.SIGKILL)
        end = time.monotonic() + LEFTOVER_PATIENCE_S
        while alive := [each for each in alive if _is_alive(each)]:
            if time.monotonic() > end:
                for each in alive:
                    with suppress(ProcessLookupError):
                        os.kill(each.pid, signal.SIGKILL)
                end += LEFTOVER_PATIENCE_S
            time.sleep(0.05)


def _is_alive(started: Started) -> bool:
    """Whether that very process lives, judged by its command line."""
    return _command_line(started.pid) == " ".join(started.argv)


def _command_line(pid: int) -> str:
    proc = Path("/proc") / str(pid) / "cmdline"
    if Path("/proc/self").exists():
        try:
            return proc.read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            return ""
    shown = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()
