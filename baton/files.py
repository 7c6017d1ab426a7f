"""Files between an agent's code and the person: `await put_file("report.csv", data)`.

Both work inside a run alone, and go through toolsvc under its token. What the same tool call puts
there under the same name with the same bytes is one file, however often a take-over repeats it.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import NamedTuple


class Drawer(NamedTuple):
    """How the present run keeps and reads files."""

    put: Callable[[str, bytes], Awaitable[str]]
    read: Callable[[str], Awaitable[bytes]]


DRAWER: ContextVar[Drawer | None] = ContextVar("baton_files", default=None)


async def put_file(name: str, content: bytes | str) -> str:
    """Keep a file for the person, who can download it from the chat.

    Args:
        name: what it is called, its ending included.
        content: 1 byte to 10 MiB; text is kept as UTF-8.

    Returns:
        The text that stands for it, a Markdown link: let the tool return it, or say it.

    Raises:
        RuntimeError: outside of a run.
        ValueError: it is empty or too large, or has no name.
    """
    return await _drawer().put(name, content.encode() if isinstance(content, str) else content)


async def read_file(id_: str) -> bytes:
    """The bytes of a file of this thread, by its id (`file_…`): one that the person has sent, say.

    Raises:
        RuntimeError: outside of a run.
        FileNotFoundError: this thread has no such file, or has it no more.
    """
    return await _drawer().read(id_)


def _drawer() -> Drawer:
    drawer = DRAWER.get()
    if drawer is None:
        raise RuntimeError("files belong to a run: there is none here")
    return drawer
