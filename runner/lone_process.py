"""One process for one run: started, read, waited for, all in threads of its own.

asyncio's subprocesses wait for their pipes too, which a grandchild may hold open for long.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO
from uuid import UUID

from shared.protocol.record import WORDS_BYTES, WORDS_LINES
from shared.telemetry.redact import without

#: Enough that what is kept of it cannot begin in the middle of a secret.
_KEPT_BYTES = 4 * WORDS_BYTES
#: A line without an end is passed on in pieces.
_LINE_BYTES = 65_536
#: Its last words are in the pipe by now; a grandchild may keep that open.
_LAST_WORDS_S = 0.5


class Tail:
    """The end of what a process has printed."""

    def __init__(self) -> None:
        self._kept = b""
        self._cut = False

    def add(self, printed: bytes) -> None:
        """Take what came next."""
        whole = self._kept + printed
        self._cut = self._cut or len(whole) > _KEPT_BYTES
        self._kept = whole[-_KEPT_BYTES:]

    def lines(self, secrets: Sequence[str]) -> list[str]:
        """The last lines, without the secrets."""
        text = self._kept.decode("utf-8", "replace")
        if self._cut:  # it may begin inside a secret, which could not be found there
            text = text.partition("\n")[2] or text[WORDS_BYTES:]
        shown = without(text, secrets).encode()[-WORDS_BYTES:].decode("utf-8", "ignore")
        return shown.splitlines()[-WORDS_LINES:]


class LoneProcess:
    """`python -m runner --alone RUN`, which ends when its standard input closes."""

    def __init__(self, run: UUID, run_id: str | None, *, runner: str, secret: str) -> None:
        self.tail = Tail()
        self._run = run
        told = {"runner": runner, "secret": secret, "run_id": run_id}
        self._told = json.dumps(told).encode() + b"\n"
        self._process: subprocess.Popen[bytes] | None = None

    async def run(self) -> str | None:
        """Start it and wait for its end: `None` for a good one, else the status or the signal.

        Raises:
            OSError: it cannot be started.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[int] = loop.create_future()
        self._process = process = self._started()
        threading.Thread(
            target=self._attend, args=(process, ended, loop), name="lone process", daemon=True
        ).start()
        return _how(await ended)

    def ask_to_end(self) -> None:
        """Close its standard input, so that it gives its run away and ends."""
        if self._process and self._process.stdin:
            with suppress(OSError):
                self._process.stdin.close()

    @property
    def _command(self) -> Sequence[str]:
        # A fatal signal shows where in the code it came.
        return (sys.executable, "-X", "faulthandler", "-m", "runner", "--alone", str(self._run))

    def _started(self) -> subprocess.Popen[bytes]:
        # A group of its own: what is meant for this process by a terminal is not meant for it.
        process = subprocess.Popen(  # noqa: S603
            self._command,
            env=os.environ | {"BATON_SUPERVISED": "true", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdin  # noqa: S101 - opened above
        with suppress(BrokenPipeError):
            process.stdin.write(self._told)
            process.stdin.flush()
        return process

    def _attend(
        self,
        process: subprocess.Popen[bytes],
        ended: asyncio.Future[int],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        assert process.stdout  # noqa: S101 - opened above
        reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        reader.start()
        status = process.wait()
        reader.join(_LAST_WORDS_S)
        self.ask_to_end()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(ended.set_result, status)

    def _read(self, output: IO[bytes]) -> None:
        """Keep the end of its output, and pass it all on: its log lines are this runner's."""
        with output:
            while line := output.readline(_LINE_BYTES):
                self.tail.add(line)
                sys.stdout.buffer.write(line)  # at once and whole, for others write here too
                sys.stdout.buffer.flush()


def _how(status: int) -> str | None:
    if status == 0:
        return None
    if status < 0:
        with suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"
