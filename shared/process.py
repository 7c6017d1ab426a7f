"""How a process begins, and how it ends: with its supervisor, or when a part has failed."""

import asyncio
import faulthandler
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TextIO

from shared.settings.common import ENDS_WITHIN_S
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

#: Later than the heartbeat, which ends a process with a stuck loop in words.
STUCK_S = 40


@contextmanager
def importing() -> Iterator[None]:
    """Keep the garbage collector quiet while a process imports itself; for `__main__`.

    Modules are objects by the hundred thousand, and all of them stay. Looking through them again
    and again costs a runner 0.7 s of its 3 s (measured), and each later collection a little; so
    nothing is collected during the block, and what it made is never looked at.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def answers() -> TextIO:
    """Standard output, for answers alone; whatever else is printed goes to standard error."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return ours


def essential(task: asyncio.Task[Any]) -> asyncio.Task[Any]:
    """Mark a task without which the process is of no use: should it fail, the process ends.

    Whoever supervises starts another; a process that answers and does nothing would be worse.
    """
    task.add_done_callback(_end_if_failed)
    return task


def _end_if_failed(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical(
            "the process ends: a part of it has failed", part=task.get_name(), exc_info=error
        )
        os.kill(os.getpid(), signal.SIGTERM)


async def end_if_stuck(after_s: float = STUCK_S) -> None:
    """End the process should its event loop, or all of Python, stand still for so long.

    A watcher in C: it also sees code that holds the interpreter's lock (a regular expression that
    never ends), and shows on standard error where each thread stood.
    """
    try:
        while True:
            faulthandler.dump_traceback_later(after_s, exit=True)
            await asyncio.sleep(after_s / 8)
    finally:
        faulthandler.cancel_dump_traceback_later()


def end_with_supervisor(patience_s: float = ENDS_WITHIN_S) -> None:
    """Ask this process to end when its standard input closes, and make it after `patience_s`.

    The supervisor holds the other end of the pipe and writes nothing, so the end of file means that
    it is gone, by `kill -9` too. Call it where `BATON_SUPERVISED` is set, from `__main__`.
    """
    watcher = threading.Thread(
        target=_watch,
        args=(sys.stdin.buffer, patience_s),
        name="end with supervisor",
        daemon=True,
    )
    watcher.start()


def _watch(pipe: BinaryIO, patience_s: float) -> None:
    # Unbuffered: a daemon thread inside a buffered read would hold its lock at interpreter exit,
    # which is a fatal error there.
    descriptor = pipe.fileno()
    while os.read(descriptor, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(patience_s)
    os._exit(1)
