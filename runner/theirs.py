"""Agent code, held at arm's length: whatever it raises or says must not end more than its run."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runner.ambient import traced


class AgentCodeError(Exception):
    """Agent code raised what no code may: an exit, an interrupt, a cancel that nobody asked for."""

    def __init__(self, error: BaseException) -> None:
        said = f": {error}" if str(error) else ""
        super().__init__(f"{type(error).__name__}{said}")


@contextmanager
def theirs() -> Iterator[None]:
    """Run agent code in the block: `sys.exit()` in there ends neither the loop nor the process.

    A cancel passes where the task was asked to end; raised by the code itself it is an error like
    any other, which the SDK would else take for a quiet end.
    """
    try:
        with traced():
            yield
    except Exception:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise AgentCodeError(error) from error
    except BaseException as error:
        raise AgentCodeError(error) from error


def storable(value: Any) -> Any:
    """Texts in a JSON-like value without what JSON (half surrogate pairs) or SQL (NUL) refuses."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode().replace("\0", "")
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    return value
