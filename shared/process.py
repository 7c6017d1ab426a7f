"""How a process ends together with its supervisor."""

import os
import signal
import sys
import threading
import time
from typing import BinaryIO

#: A runner gives its runs away within 20 s of SIGTERM; what still lives long after is stuck.
PATIENCE_S = 35


def end_with_supervisor() -> None:
    """Ask this process to end when its standard input closes.

    The supervisor holds the other end of the pipe and writes nothing, so the end of file means that
    it is gone, by `kill -9` too. Call it where `BATON_SUPERVISED` is set, from `__main__`.
    """
    watcher = threading.Thread(
        target=_watch, args=(sys.stdin.buffer,), name="end with supervisor", daemon=True
    )
    watcher.start()


def _watch(pipe: BinaryIO) -> None:
    # Unbuffered: a daemon thread inside a buffered read would hold its lock at interpreter exit,
    # which is a fatal error there.
    descriptor = pipe.fileno()
    while os.read(descriptor, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_S)
    os._exit(1)
