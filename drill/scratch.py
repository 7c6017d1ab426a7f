"""Where a drill lives while it goes on, and how it is ended early."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCENE = Path(__file__).parent / "scene"


@contextmanager
def folder_for_drill() -> Iterator[Path]:
    """A folder on disk for the stores and the ledger; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="baton-drill-"))
    folder.chmod(0o711)  # Postgres may run as another user, who has to pass
    try:
        (folder / "home").mkdir(mode=0o711)
        shutil.copytree(SCENE / "tools", folder / "tools", ignore=shutil.ignore_patterns("__*"))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def interruptible(enough: asyncio.Event) -> Iterator[None]:
    """The first Ctrl-C ends the drill, the second one this process."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        enough.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
