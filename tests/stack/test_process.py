import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

from shared.process import importing

ROOT = Path(__file__).parents[2]

SCRIPT = """
import signal, sys, time
from shared.process import end_with_supervisor
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
end_with_supervisor()
print("here", flush=True)
while True: time.sleep(0.1)
"""


def started() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "here\n"
    return process


def test_a_process_ends_in_its_own_way_when_its_supervisor_is_gone() -> None:
    with started() as process:
        assert process.stdin
        process.stdin.close()
        assert process.wait(20) == 7


def test_a_process_can_be_ended_while_its_supervisor_lives() -> None:
    with started() as process:
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) == 7


def test_what_is_made_while_importing_is_not_looked_through_later() -> None:
    try:
        with importing():
            assert not gc.isenabled()
            kept = [[number] for number in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= len(kept)
    finally:
        gc.unfreeze()
