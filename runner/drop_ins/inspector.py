"""The process that looks at agents' code for a runner: forked from it when it begins.

At that moment everything is imported, there are no threads, no settings and no connections. It
forks a process for each agent that it is asked about (inspection.py), one after the other, and ends
when its runner does. `python -m runner.drop_ins.inspector` starts one anew, should it have died.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from threading import Thread
from typing import NoReturn

from runner.drop_ins.inspection import (
    LeftAloneError,
    Limits,
    Order,
    Report,
    adopt_orphans,
    hide_secrets,
    inspected,
)
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

#: Of a line: toolsvc's catalogue of tools is in it.
_MOST_BYTES = 16 << 20


def fork_inspector() -> socket.socket:
    """Fork one off this process, which must have no threads yet; the socket to ask it by."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        _be_inspector(theirs)
    theirs.close()
    return ours


def _be_inspector(asker: socket.socket) -> NoReturn:
    """Answer a line of JSON with one, until nobody asks any more."""
    try:
        os.setsid()  # what is meant for a terminal or the runner's group is not meant for it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        place = 3
        os.dup2(asker.fileno(), place)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.closerange(place + 1, os.sysconf("SC_OPEN_MAX"))
        hide_secrets(os.environ)
        adopt_orphans()
        serve_inspections(socket.socket(fileno=place), Limits())
    finally:
        os._exit(0)


def serve_inspections(asker: socket.socket, limits: Limits) -> None:
    """Look at one agent after the other."""
    with asker, asker.makefile("rb") as orders:
        while line := orders.readline():
            try:
                report = inspected(Order.model_validate_json(line), limits, asker)
            except LeftAloneError:
                return
            asker.sendall(report.model_dump_json().encode() + b"\n")


class Inspector:
    """Asks that process, and starts another where it has died."""

    def __init__(self, forked: socket.socket | None = None) -> None:
        self._socket = forked
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._asking = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    async def inspect(self, order: Order) -> Report:
        """What an agent would be, or why it cannot be served."""
        line = order.model_dump_json().encode() + b"\n"
        async with self._asking:
            for _ in range(2):
                try:
                    if answer := await self._asked(line):
                        return Report.model_validate_json(answer)
                except asyncio.CancelledError:
                    self.close()  # what it would say now is not what the next one asks
                    raise
                log.warning("the inspector of agents has died; another one is started")
                self.close()
        return Report(reason=f"{order.file}: its import ended the process that looked at it.")

    async def _asked(self, line: bytes) -> bytes:
        try:
            reader, writer = self._streams or await self._connect()
            writer.write(line)
            await writer.drain()
            return await reader.readline()
        except (ConnectionError, ValueError):
            return b""

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock, self._socket = self._socket or self._started(), None
        self._streams = await asyncio.open_unix_connection(sock=sock, limit=_MOST_BYTES)
        return self._streams

    def close(self) -> None:
        """Let it end."""
        if self._streams:
            self._streams[1].close()
            self._streams = None
        if self._socket:
            self._socket.close()
            self._socket = None
        if self._process:  # it ends by itself now, and somebody has to take note
            Thread(target=self._process.wait, name="end of an inspector", daemon=True).start()
            self._process = None

    def _started(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "runner.drop_ins.inspector"], stdin=theirs.fileno()
            )
        return ours


if __name__ == "__main__":
    _be_inspector(socket.socket(fileno=os.dup(0)))
