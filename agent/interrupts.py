"""Ctrl-C while a run goes on: the first one asks for something, the second one leaves."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress


class LeftError(Exception):
    """The person has left; the run has not."""


@contextmanager
def interrupts(first: Callable[[], Awaitable[None]] | None) -> Iterator[None]:
    """Do `first` at the first Ctrl-C and leave at the second; without `first`, leave at once.

    Raises:
        LeftError: the person has left.
    """
    loop = asyncio.get_running_loop()
    ourselves = asyncio.current_task()
    doing: list[asyncio.Future[None]] = []
    left = False

    def interrupted() -> None:
        nonlocal left
        if first is not None and not doing:
            doing.append(asyncio.ensure_future(first()))
        elif ourselves is not None:
            left = True
            ourselves.cancel()

    with suppress(NotImplementedError):  # Windows: there Ctrl-C leaves at once
        loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
        for one in doing:
            one.cancel()
    except asyncio.CancelledError:
        if left:
            raise LeftError from None
        raise
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
