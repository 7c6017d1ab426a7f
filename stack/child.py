"""One program kept running: started again with back-off when it dies, until it dies too often.

A child has a session of its own, so Ctrl-C reaches the supervisor alone, which stops the stack in
order. Waiting and reading happen in threads: asyncio's own subprocesses wait for the pipes too,
which a grandchild may hold open for long.
"""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from stack.errors import GaveUpError, PortLostError, StackError
from stack.program import Program

#: This many deaths of one program within a minute, and the stack stops.
DEATHS_A_MINUTE = 5

#: The first restart is quick, for most deaths are single; each further one waits twice as long.
BACK_OFF_S = (0.1, 0.2, 0.4, 0.8)

#: Settings classes end a process with this status: starting it again would not help.
WRONG_SETTING = 2

POLL_S = 0.03
TAIL_LINES = 400

#: Called with the program's name and one line of its output, or of news about it.
Show = Callable[[str, str], None]


class Child:
    """One program of a stack, running or about to be."""

    def __init__(
        self,
        program: Program,
        *,
        show: Show,
        news: Show,
        started: Callable[[], None] = lambda: None,
    ) -> None:
        self.program = program
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)  #: its last lines of output
        self.failure: asyncio.Future[GaveUpError | PortLostError] = asyncio.Future()
        self._show = show
        self._news = news
        self._started = started
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: asyncio.Future[int] = asyncio.Future()
        self._keeper: asyncio.Task[None] | None = None
        self._wanted = True
        self._was_ready = False
        self._expected_death = False
        self._deaths: deque[float] = deque(maxlen=DEATHS_A_MINUTE)

    @property
    def pid(self) -> int | None:
        """Id of the running process; `None` between a death and the next start."""
        return self._process.pid if self._process and not self._ended.done() else None

    def start(self) -> None:
        """Start the program and keep it running. Call it in the main thread (see `leash`)."""
        self._wanted = True
        self._spawn()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.program.name}")

    async def ready(self) -> None:
        """Wait until the program answers.

        Raises:
            StackError: it died too often, or lost its port to somebody else.
        """
        while True:
            if self.failure.done():
                raise self.failure.result()
            pid = self.pid
            if pid and await asyncio.to_thread(self.program.ready) and pid == self.pid:
                break
            await asyncio.sleep(POLL_S)
        self._was_ready = True

    def kill(self, number: signal.Signals = signal.SIGKILL, *, again: bool = True) -> None:
        """Send a signal, for tests of faults; a death by it is not counted as the program's own."""
        self._expected_death = number not in {signal.SIGSTOP, signal.SIGCONT}
        self._wanted = self._wanted and again
        if self._process:
            self._process.send_signal(number)

    async def dead(self) -> None:
        """Wait until the present process has ended."""
        await asyncio.shield(self._ended)

    async def stop(self) -> None:
        """End the program in its own way, by force when its patience is over."""
        self._wanted = False
        if self._process and self.pid:
            self._process.send_signal(self.program.stop_signal)
            self._process.send_signal(signal.SIGCONT)  # a stopped process hears nothing else
            with suppress(TimeoutError):
                await asyncio.wait_for(self.dead(), self.program.patience_s)
        await self.stop_by_force()

    async def stop_by_force(self) -> None:
        """End the program and what it started, at once."""
        self._wanted = False
        if self._process and self.pid:
            self._signal_all(self.program.kill_signal)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.dead(), 5)
            if self.pid:
                self._signal_all(signal.SIGKILL)
            await self.dead()
        if self._keeper:
            await self._keeper

    async def restart(self) -> None:
        """Stop the program in its own way, start it again, wait until it answers."""
        await self.stop()
        self.start()
        await self.ready()

    async def _keep(self) -> None:
        while True:
            status = await asyncio.shield(self._ended)
            if not self._wanted:
                return
            pause = self._judge(status)
            if pause is None:
                return
            await asyncio.sleep(pause)
            if not self._wanted:
                return
            try:
                self._spawn()
            except StackError as error:
                self.failure.set_result(GaveUpError(str(error)))
                return

    def _judge(self, status: int) -> float | None:
        """How long to wait before the next start; `None` when there shall be none."""
        if self._expected_death:
            self._expected_death = False
            return 0
        if not self._was_ready and self._lost_its_port():
            self.failure.set_result(PortLostError(self.program.name))
            return None
        now = time.monotonic()
        self._deaths.append(now)
        recent = sum(now - death < 60 for death in self._deaths)
        ended = f"{self.program.name} {_how(status)}"
        if status == WRONG_SETTING or recent >= DEATHS_A_MINUTE:
            often = "" if status == WRONG_SETTING else f" for the {recent}th time within a minute"
            self._give_up(ended + often)
            return None
        pause = BACK_OFF_S[recent - 1]
        self._news(self.program.name, f"{_how(status)}; started again in {pause} s")
        return pause

    def _give_up(self, sentence: str) -> None:
        if not self.program.chatty and self.tail:  # the others' output is on the screen already
            sentence += "; its last words:\n  " + "\n  ".join(list(self.tail)[-5:])
        self.failure.set_result(GaveUpError(sentence))

    def _lost_its_port(self) -> bool:
        return any("address already in use" in line.lower() for line in self.tail)

    def _spawn(self) -> None:
        program, loop = self.program, asyncio.get_running_loop()
        self._was_ready = False
        self._ended = loop.create_future()
        try:
            self._process = subprocess.Popen(
                program.command,
                env=dict(program.env),
                cwd=program.cwd,
                stdin=subprocess.DEVNULL if program.leashed else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise StackError(f"{program.name} cannot be started: {error}") from error
        threading.Thread(
            target=self._attend, args=(self._process, self._ended, loop), daemon=True
        ).start()
        self._started()

    def _attend(
        self,
        process: subprocess.Popen[bytes],
        ended: asyncio.Future[int],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """In a thread: pass the output on, and at the end the exit status."""
        reader = threading.Thread(target=self._read, args=(process, loop), daemon=True)
        reader.start()
        status = process.wait()
        reader.join(0.5)  # its last words say why; a grandchild may hold the pipe for longer
        if process.stdin:
            process.stdin.close()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(ended.set_result, status)

    def _read(self, process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop) -> None:
        assert process.stdout  # noqa: S101 - opened above
        with process.stdout as output, suppress(RuntimeError):
            for line in output:
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                loop.call_soon_threadsafe(self._said, text)

    def _said(self, line: str) -> None:
        self.tail.append(line)
        if self.program.chatty:
            self._show(self.program.name, line)

    def _signal_all(self, number: signal.Signals) -> None:
        """To the process and its group, which it leads."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def _how(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"
