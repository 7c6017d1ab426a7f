"""A program: what to start, how to know that it is ready, how to stop it. Nothing runs here."""

import http.client
import os
import pwd
import secrets
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from stack.errors import StackError

#: The repository; services run here, so that `python -m gateway` and `src/agents` are found.
ROOT = Path(__file__).resolve().parent.parent

LEASH = Path(__file__).with_name("leash.py")

#: Ports below those the kernel hands to outgoing connections (32768 on Linux, 49152 on macOS): a
#: program that is started again must find its port free, and no passing connection can hold it.
FREE_PORTS = range(20_000, 32_000)


#: Ports that stay reserved; a stack takes about ten of them, each is an open file.
MOST_RESERVED = 64
_reserved: deque[int] = deque()


class Tier(IntEnum):
    """Who stops when: the highest first, for each leans on those below."""

    STORE = 0  #: Valkey, Postgres
    MODEL = 1  #: the demo model
    TOOLSVC = 2
    RUNNER = 3
    GATEWAY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The system user a program runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One operating-system process of the stack.

    `leashed` programs get a signal from the kernel when the supervisor dies; the others end by
    themselves when their standard input closes. `chatty` ones are shown line by line, the output of
    the rest only when they die.
    """

    name: str
    tier: Tier
    argv: tuple[str, ...]
    env: Mapping[str, str]
    ready: Callable[[], bool]
    cwd: Path = ROOT
    user: User | None = None
    leashed: bool = False
    chatty: bool = True
    stop_signal: signal.Signals = signal.SIGTERM
    kill_signal: signal.Signals = signal.SIGKILL
    patience_s: float = 35  #: to end in its own way

    @property
    def command(self) -> tuple[str, ...]:
        """What to execute: the program, behind its leash where it has one."""
        if not self.leashed:
            return self.argv
        user = self.user or User(uid=os.geteuid(), gid=os.getegid())
        leash = (self.stop_signal, os.getpid(), user.uid, user.gid)
        return (
            sys.executable,
            "-I",
            "-S",
            str(LEASH),
            *(str(int(word)) for word in leash),
            *self.argv,
        )


def free_port() -> int:
    """A port nobody listens on, and that nobody else who asks here is given, for a good while."""
    for _ in range(200):
        port = FREE_PORTS.start + secrets.randbelow(len(FREE_PORTS))
        reservation = socket.socket()
        try:
            reservation.bind(("127.0.0.1", port))
        except OSError:
            reservation.close()
            continue
        # Bound so, but silent, it keeps out who binds as above, and no server, which reuses.
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _reserved.append(reservation.detach())
        if len(_reserved) > MOST_RESERVED:
            os.close(_reserved.popleft())
        return port
    raise StackError("no free port was found between 20000 and 32000")


def is_taken(port: int) -> bool:
    """Whether a listener on `port` of loopback would be refused."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def answers_ok(port: int, path: str = "/readyz") -> bool:
    """Whether `GET path` answers 200 on loopback within two seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def nobody() -> User | None:
    """Whom Postgres runs as where we are root, which it refuses; `None` for ordinary users."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise StackError(
            "Postgres refuses to run as root and there is no user `nobody`: run as an ordinary "
            "user, or set DATABASE_URL"
        ) from None
    return User(uid=entry.pw_uid, gid=entry.pw_gid)


def anybody_can_enter(folder: Path) -> bool:
    """Whether every user may pass through `folder` and all folders above it."""
    folder = folder.resolve()
    return all(place.stat().st_mode & 0o001 for place in (folder, *folder.parents))
