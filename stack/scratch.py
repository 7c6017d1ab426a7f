"""A folder for stores that a test throws away."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Docker gives containers 64 MB of /dev/shm by default, and Postgres needs some of it for itself.
SHM_BYTES = 512 * 1024 * 1024


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for a test's stores, in memory where there is room; gone afterwards."""
    shm = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of our own in it
    roomy = shm.is_dir() and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free >= SHM_BYTES
    folder = Path(tempfile.mkdtemp(prefix="baton-", dir=shm if roomy else None))
    folder.chmod(0o711)  # Postgres may run as another user, who has to pass
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
