"""The runner's own event loop, and agent code that runs in another one.

A plain function used as a tool runs in a thread, and `Runner.run_sync` makes a loop there. Journal,
outbox and connections belong to the runner's loop, so such code comes home for each of them.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Home:
    """The loop it is made in; `call_back` ends what is abroad."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._abroad: set[asyncio.Task[Any]] = set()
        self._over = False

    async def run(self, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something at home, wherever the caller is."""
        if asyncio.get_running_loop() is self._loop:
            return await work(*args, **kwargs)

        async def at_home() -> T:
            return await work(*args, **kwargs)

        # The task at home gets the caller's contextvars.
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(at_home(), self._loop))

    def soon(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Do something at home: at once if this is home, else in the order of the calls."""
        if asyncio.get_running_loop() is self._loop:
            work(*args, **kwargs)
        else:
            self._loop.call_soon_threadsafe(lambda: work(*args, **kwargs))

    @contextmanager
    def visiting(self) -> Iterator[None]:
        """Let the present task be called back, should it be abroad."""
        task = asyncio.current_task()
        if task is None or task.get_loop() is self._loop:
            yield
            return
        if self._over:  # nobody would ever answer it
            raise asyncio.CancelledError
        self._abroad.add(task)
        try:
            yield
        finally:
            self._abroad.discard(task)

    def call_back(self) -> None:
        """Cancel everything that is abroad, now or later."""
        self._over = True
        for task in list(self._abroad):
            with contextlib.suppress(RuntimeError):  # its loop was closed over its head
                task.get_loop().call_soon_threadsafe(task.cancel)


class ToolThreads(ThreadPoolExecutor):
    """Threads that know the run of who asked: `loop.run_in_executor` alone would forget it."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """See Executor."""
        return super().submit(_leaving_no_loop, copy_context(), fn, *args, **kwargs)


def _leaving_no_loop(context: Context, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """`Runner.run_sync` leaves its loop open for the thread's next call, with all it holds."""
    try:
        return context.run(fn, *args, **kwargs)
    except StopIteration as error:  # which no future takes
        raise RuntimeError("a function ended with StopIteration") from error
    finally:
        with contextlib.suppress(RuntimeError):  # this thread has no loop
            asyncio.get_event_loop_policy().get_event_loop().close()
            asyncio.set_event_loop(None)
