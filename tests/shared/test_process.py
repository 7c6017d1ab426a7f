"""A process ends when a part that it needs has failed."""

import subprocess
import sys

PROGRAM = """
import asyncio, signal, sys
from shared.process import essential

async def main(fails: bool) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)

    async def part() -> None:
        if fails:
            raise RuntimeError("broken")

    task = essential(asyncio.create_task(part(), name="the part"))
    await asyncio.wait({task})
    if fails:
        await stopped.wait()
    print("stopped" if stopped.is_set() else "goes on")

asyncio.run(main(sys.argv[1] == "fails"))
"""


def run(how: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_a_failed_part_ends_the_process() -> None:
    assert "stopped" in run("fails")


def test_a_part_that_is_done_does_not() -> None:
    assert "goes on" in run("ends")
