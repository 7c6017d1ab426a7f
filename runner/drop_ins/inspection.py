"""Looking at an agent's code in a process of its own, before anybody relies on it.

It is imported there as in the runner, in a thread. What loops, exits, takes memory or tricks with
signals does so to that process alone, which has limits and ends in any case.
"""

import ctypes
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from pydantic import BaseModel

from baton.tools import know
from runner.drop_ins.doubts import doubts_of
from runner.drop_ins.load import Tools, load
from runner.drop_ins.reason import reason_of
from runner.drop_ins.rules import NotAllowedError
from runner.drop_ins.source import read_source
from shared.settings.security import AgentRules
from shared.telemetry.redact import redact, secret_name

#: Longer than any import should take, and no longer than somebody waits for a save to be judged.
WITHIN_S = 10.0
#: Beyond what the SDK itself takes.
MEMORY_BYTES = 1 << 30
#: Of an answer: whatever an agent's code says of itself.
_MOST_BYTES = 4 << 20
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, of linux/prctl.h
#: What code may not do while it is imported, for it would do it to others: audit events.
_REFUSED = ("os.fork", "os.forkpty", "os.kill", "os.killpg")
#: What an agent's code might read of our settings; the others hold secrets or are none of its.
_OURS_KEPT = "BATON_AGENTS_"


class Order(BaseModel):
    """What is to be looked at, and the tools that toolsvc has."""

    name: str
    file: Path
    root: Path | None = None
    #: None where nobody knows what toolsvc has, so that any will do.
    tools: Tools | None = {}
    rules: AgentRules = AgentRules()
    #: How long its import may take, in seconds.
    within_s: float = WITHIN_S


class Report(BaseModel):
    """What an agent would be, or why it cannot be served."""

    #: Of the code that was looked at; none where it could not even be read.
    digest: str | None = None
    about: dict[str, Any] | None = None
    reason: str | None = None
    #: The rule of security.yaml that forbids it.
    rule: str | None = None
    #: Whether its import took too long.
    late: bool = False
    #: What a replay cannot carry.
    doubts: list[str] = []


class Limits(NamedTuple):
    """What an import may take."""

    within_s: float = WITHIN_S
    memory_bytes: int = MEMORY_BYTES


class LeftAloneError(Exception):
    """Whoever asked is gone."""


def inspected(order: Order, limits: Limits, asker: socket.socket | None = None) -> Report:
    """Look at an agent's code. For a process that has no threads.

    Raises:
        LeftAloneError: `asker` was closed meanwhile.
    """
    within_s = min(order.within_s, limits.within_s)
    others = _children()
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        _be_looked_at(order, limits, write)
    os.close(write)
    try:
        answer = _answer(read, time.monotonic() + within_s, asker)
    finally:
        os.close(read)
        ended = _end(pid, others)
    if answer is None:
        why = f"{order.file}: its import did not end within {within_s:g} s."
        return Report(reason=why, late=True)
    try:
        return Report.model_validate_json(answer)
    except ValueError:
        return Report(reason=f"{order.file}: its import ended the process ({ended}).")


def look_at(order: Order) -> Report:
    """Load an agent's code here, and say what came of it."""
    know(order.tools or {})
    digest = None
    try:
        source = read_source(order.name, order.file, order.root)
        digest = source.digest
        loaded = load(source, order.tools, order.rules)
        return Report(digest=digest, about=loaded.described(), doubts=doubts_of(source, loaded))
    except BaseException as error:  # noqa: BLE001 - others' code may raise anything
        rule = error.rule if isinstance(error, NotAllowedError) else None
        return Report(digest=digest, reason=reason_of(error, order.file), rule=rule)


def hide_secrets(environ: MutableMapping[str, str]) -> None:
    """Take secrets out: code that only wants to see that there is a key goes on all the same."""
    for name, value in list(environ.items()):
        if name.startswith("BATON_") and not name.startswith(_OURS_KEPT):
            del environ[name]
        else:
            environ[name] = "hidden" if secret_name(name) else redact(value)


def adopt_orphans() -> None:
    """Have grandchildren become children here when their parents end, so that they can be ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


# ---------------------------------------------------------------------------------- the child
def _be_looked_at(order: Order, limits: Limits, write: int) -> NoReturn:
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        _bound(limits)
        sys.addaudithook(_refusing(os.getpid()))
        found: list[Report] = []
        looking = threading.Thread(target=lambda: found.append(look_at(order)), daemon=True)
        looking.start()
        looking.join()
        with os.fdopen(write, "wb") as out:
            out.write(found[0].model_dump_json().encode() + b"\n")
    finally:
        os._exit(0)


def _bound(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":  # where nobody tells how much is taken already
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _refusing(own: int) -> Any:
    def refuse(event: str, given: tuple[Any, ...]) -> None:
        if event in _REFUSED and given[:1] != (own,):
            raise RuntimeError(f"an agent's file may not use {event} while it is imported")

    return refuse


# ---------------------------------------------------------------------------------- its parent
def _answer(read: int, until: float, asker: socket.socket | None) -> bytes | None:
    """The child's line, or as much of it as came; `None` where it takes too long."""
    heard = b""
    while not heard.endswith(b"\n") and len(heard) < _MOST_BYTES:
        waiting = [read, *([asker.fileno()] if asker else [])]
        ready, _, _ = select.select(waiting, [], [], max(0, until - time.monotonic()))
        if not ready:
            return None
        if read not in ready:
            raise LeftAloneError
        if not (piece := os.read(read, 65_536)):
            break
        heard += piece
    return heard


def _end(pid: int, others: list[int]) -> str:
    """End the child and whatever it has started; how the child itself ended."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):  # it may not have had a group yet
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    while adopted := [one for one in _children() if one not in others]:
        for one in adopted:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(one, signal.SIGKILL)
                os.waitpid(one, 0)
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name


def _children() -> list[int]:
    try:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return []
    return [int(one) for one in listed.split()]
