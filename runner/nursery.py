"""`python -m runner --nursery`: has everything imported, and forks processes that carry one run.

An interpreter with the SDK in it takes seconds of CPU to start, a fork takes milliseconds, and most
of its memory is shared. When two runners have died with a hundred runs, each of those gets a
process of its own. The nursery has no threads and never loads an agent, so its forks are whole and
know nothing of each other.

A runner starts it and talks with it over standard input, a socket: a request is a number, the run,
and two pipe ends (descriptors) for standard input and output; the answer is the number and how the
process has ended, as `waitpid` has it. When the socket closes, it waits for what it has forked.
"""

import faulthandler
import os
import select
import signal
import socket
import sys
from typing import NamedTuple
from uuid import UUID

_STANDARD_INPUT = 0
_MOST_BYTES = 256


class Birth(NamedTuple):
    """What is asked for."""

    number: int
    run: UUID
    given: tuple[int, int]  #: descriptors: standard input, and output


def birth(number: int, run: UUID) -> bytes:
    """A request, which its two descriptors go with."""
    return f"{number} {run}".encode()


def ending(answer: bytes) -> tuple[int, int]:
    """The number of a request, and the exit code of its process (of a signal: negative)."""
    number, status = answer.split()
    return int(number), os.waitstatus_to_exitcode(int(status))


def born() -> UUID:
    """Return in each process that is forked here, with its run; never in the nursery itself."""
    starter = socket.socket(fileno=os.dup(_STANDARD_INPUT))
    # A child that ends interrupts the wait for requests.
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    forked: dict[int, int] = {}  # process id → number of its request
    while True:
        readable, _, _ = select.select([starter.fileno(), woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            _answer_for_ended(starter, forked)
        if starter.fileno() in readable:
            asked = _asked(starter)
            if asked is None:
                _wait_for_all()
            elif pid := os.fork():
                forked[pid] = asked.number
                for descriptor in asked.given:
                    os.close(descriptor)
            else:
                _begin(asked, [starter.detach(), woken, waker])
                return asked.run


def _asked(starter: socket.socket) -> Birth | None:
    """The next request; `None` where nobody will ask any more."""
    message, given, _, _ = socket.recv_fds(starter, _MOST_BYTES, 2)
    if not message:
        return None
    number, run = message.decode().split()
    return Birth(int(number), UUID(run), (given[0], given[1]))


def _answer_for_ended(starter: socket.socket, forked: dict[int, int]) -> None:
    while forked:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        try:
            starter.send(f"{forked.pop(pid)} {status}".encode())
        except OSError:  # our starter is gone: the end of its socket is read next
            return


def _wait_for_all() -> None:
    """What was forked ends by itself, for its starter's pipe has closed too."""
    try:
        while True:
            os.wait()
    except ChildProcessError:
        os._exit(0)


def _begin(asked: Birth, nurserys: list[int]) -> None:
    """Be a process of one's own: nothing of the nursery stays but what it had imported."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A group of its own: what is meant for the nursery or a terminal is not meant for it.
    os.setsid()
    read, write = asked.given
    for descriptor, place in ((read, 0), (write, 1), (write, 2)):
        os.dup2(descriptor, place)
    for descriptor in {*nurserys, *asked.given}:
        os.close(descriptor)
    # A fatal signal shows where in the code it came.
    faulthandler.enable()
    sys.argv[1:] = ["--alone", str(asked.run)]
