"""Blocking calls beside the loop, in threads that nobody has to wait for.

`asyncio.to_thread` would make whoever leaves wait until a gateway that hangs has answered.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def aside(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The call's result; its exceptions are raised here."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            found = call(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
            tell(partial(result.set_exception, error))
        else:
            tell(partial(result.set_result, found))

    def tell(settle: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if result.done() else settle())

    threading.Thread(target=work, name=f"aside {call.__name__}", daemon=True).start()
    return await result
