"""One process for one run: asked for at the nursery, read, waited for.

A pipe that a grandchild holds open keeps nobody waiting: its reading goes on in a thread.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO
from uuid import UUID

from runner.nursery import birth, ending
from shared.protocol.record import WORDS_BYTES, WORDS_LINES
from shared.telemetry.logs import get_logger
from shared.telemetry.redact import without

log = get_logger(__name__)

#: Enough that what is kept of it cannot begin in the middle of a secret.
_KEPT_BYTES = 4 * WORDS_BYTES
#: A line without an end is passed on in pieces.
_LINE_BYTES = 65_536
#: Its last words are in the pipe by now; a grandchild may keep that open.
_LAST_WORDS_S = 0.5
#: A nursery takes memory: it is kept for the next suspect run no longer than this.
_KEPT_S = 60.0


class Nursery:
    """`python -m runner --nursery`: started for the first process, and again where it has died."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._waiting: dict[int, asyncio.Future[int | None]] = {}
        self._asked = 0
        self._closing: asyncio.TimerHandle | None = None

    def ask(self, run: UUID, given: tuple[int, int]) -> asyncio.Future[int | None]:
        """A process with these descriptors as standard input and output; they are closed here.

        The answer is its exit code, when it has ended; `None` where the nursery died before.

        Raises:
            OSError: the nursery cannot be started.
        """
        if self._closing:
            self._closing.cancel()
        try:
            starter = self._socket or self._started()
            self._asked += 1
            number, ended = self._asked, asyncio.get_running_loop().create_future()
            self._waiting[number] = ended
            with suppress(OSError):  # it has died, which is read next
                socket.send_fds(starter, [birth(number, run)], given)
        finally:
            for descriptor in given:
                os.close(descriptor)
        return ended

    def close(self) -> None:
        """Let it end; what it has forked goes on, and is waited for no more."""
        if self._closing:
            self._closing.cancel()
        if self._socket:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        for ended in self._waiting.values():
            if not ended.done():
                ended.set_result(None)
        self._waiting.clear()

    @property
    def _command(self) -> Sequence[str]:
        return (sys.executable, "-m", "runner", "--nursery")

    def _started(self) -> socket.socket:
        # Packets: a request and an answer are one each.
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        with theirs:
            process = subprocess.Popen(  # noqa: S603
                self._command,
                env=os.environ | {"BATON_SUPERVISED": "true", "PYTHONUNBUFFERED": "1"},
                stdin=theirs.fileno(),
                start_new_session=True,
            )
        threading.Thread(target=process.wait, name="nursery", daemon=True).start()
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        return self._socket

    def _read(self) -> None:
        assert self._socket  # noqa: S101 - it is read
        try:
            answer = self._socket.recv(256)
        except BlockingIOError:
            return
        except OSError:
            answer = b""
        if not answer:
            log.warning("the nursery has died", waiting=len(self._waiting))
            self.close()
            return
        number, status = ending(answer)
        ended = self._waiting.pop(number)
        if not ended.done():
            ended.set_result(status)
        if not self._waiting:
            self._closing = asyncio.get_running_loop().call_later(_KEPT_S, self.close)


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
    """A process as by `python -m runner --alone RUN`, which ends when its standard input closes."""

    def __init__(self, run: UUID, run_id: str | None, *, runner: str, secret: str) -> None:
        self.tail = Tail()
        self._run = run
        told = {"runner": runner, "secret": secret, "run_id": run_id}
        self._told = json.dumps(told).encode() + b"\n"
        self._input: int | None = None

    async def run(self, nursery: Nursery) -> str | None:
        """Have it forked and wait for its end: `None` for a good one, else the status or signal.

        Raises:
            OSError: it cannot be started.
        """
        read, self._input = os.pipe()
        output, write = os.pipe()
        reader = threading.Thread(target=self._read, args=(os.fdopen(output, "rb"),), daemon=True)
        reader.start()
        try:
            ended = nursery.ask(self._run, (read, write))
            with suppress(BrokenPipeError):
                os.write(self._input, self._told)
            status = await ended
        finally:
            self.ask_to_end()
        await asyncio.to_thread(reader.join, _LAST_WORDS_S)
        return _how(status)

    def ask_to_end(self) -> None:
        """Close its standard input, so that it gives its run away and ends."""
        if self._input is not None:
            os.close(self._input)
            self._input = None

    def _read(self, output: BinaryIO) -> None:
        """Keep the end of its output, and pass it all on: its log lines are this runner's."""
        with output:
            while line := output.readline(_LINE_BYTES):
                self.tail.add(line)
                sys.stdout.buffer.write(line)  # at once and whole, for others write here too
                sys.stdout.buffer.flush()


def _how(status: int | None) -> str | None:
    if not status:
        return None
    if status < 0:
        with suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"
