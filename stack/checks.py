"""`python3 dev.py check`: what CI asks of code, in under a minute."""

import os
import subprocess
import sys
import time

from stack.program import ROOT

#: What needs nothing to be started, and takes no time.
FAST = "not browser and not node and not stores and not slow"
_BIN = f"{sys.prefix}/bin"

#: Name and command of each step, the quickest first.
STEPS = {
    "format": (f"{_BIN}/ruff", "format", "--check", "."),
    "lint": (f"{_BIN}/ruff", "check", "."),
    "imports": (f"{_BIN}/lint-imports",),
    "types": (f"{_BIN}/mypy", "."),
    "fast tests": (
        *(sys.executable, "-m", "pytest", "-q", "-m", FAST),
        *("-n", str(min(4, os.cpu_count() or 1))),
    ),
}


def main(arguments: list[str]) -> int:
    """Run every step, the later ones after a failure too; returns the exit status."""
    failed = [name for name in STEPS if not _passes(name, [*STEPS[name], *arguments])]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _passes(name: str, command: list[str]) -> bool:
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    took = f"{time.monotonic() - start:5.1f} s"
    print(f"{'ok' if done.returncode == 0 else 'FAILED':<7} {name:<11}{took}", flush=True)
    if done.returncode:
        print(done.stdout + done.stderr)
    return done.returncode == 0
