"""A disk for Postgres that can be full: its data on a file system in memory, whose size is ours."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from stack.running import Stack

_ROOMY = "1g"


@asynccontextmanager
async def small_disk(stack: Stack) -> AsyncIterator[Path]:
    """Where a stack's own Postgres has its data for the block; it is restarted before and after.

    Raises:
        AssertionError: this machine lets nobody mount, so there is no disk to fill.
    """
    postgres = stack.processes["postgres"]
    data = (stack.plan.folder / "postgres" / "data").resolve()
    await postgres.stop()
    with _mounted_over(data):
        postgres.start()
        await postgres.ready()
        yield data
        await postgres.stop()
    postgres.start()
    await postgres.ready()


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Nothing more fits on it for the block."""
    while not _shrunk(disk):
        pass
    try:
        yield
    finally:
        _mount("-o", f"remount,size={_ROOMY}", str(disk))


def _shrunk(disk: Path) -> bool:
    """Make it as large as what is on it; false where something was written meanwhile."""
    found = os.statvfs(disk)
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    command = ["mount", "-o", f"remount,size={used}", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return True
    now = os.statvfs(disk)
    assert (now.f_blocks - now.f_bfree) * now.f_frsize > used, "the disk cannot be made smaller"
    return False


@contextmanager
def _mounted_over(data: Path) -> Iterator[None]:
    """A small disk with a copy of what is in this folder, which gets all of it back."""
    aside, owner = data.with_name("data.aside"), data.stat()
    data.rename(aside)
    data.mkdir()
    options = f"size={_ROOMY},mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
    try:
        _mount("-t", "tmpfs", "-o", options, "baton-test", str(data))
        _copy(aside, data)
        yield
        shutil.rmtree(aside)
        aside.mkdir(0o700)
        os.chown(aside, owner.st_uid, owner.st_gid)
        _copy(data, aside)
    finally:
        subprocess.run(["umount", str(data)], check=False)
        data.rmdir()
        aside.rename(data)


def _copy(one: Path, other: Path) -> None:
    subprocess.run(["cp", "-a", f"{one}/.", str(other)], check=True)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"a disk of its own needs root: {done.stderr.strip()}"
