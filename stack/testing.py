"""`python3 dev.py test`: all tests, after getting what they need besides .venv.

What cannot be had here is named in one line, and the tests that need it count as skipped, never as
passed; with `BATON_FAIL_ON_SKIP=1` (as in CI) they fail the session.
"""

import os
import shutil
import subprocess
import sys

from stack.node import find_node, install_packages
from stack.program import ROOT

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

JS = ROOT / "tests" / "js"

#: Whose packages tests need.
NODE_FOLDERS = (JS, ROOT / "matrix" / "node")

#: Much of the time of the whole run is spent waiting, for leases to end and processes to start.
#: Three at a time need no less of two cores, and keep each other from answering in time. A file's
#: tests share what they start, so they stay together; the longest files must not come last.
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")


def main(arguments: list[str]) -> int:
    """Prepare, then run pytest with the arguments; returns its exit status."""
    _get_debian_packages()
    _get_node_packages()
    command = [sys.executable, "-m", "pytest", *(arguments or SIDE_BY_SIDE)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def find_browser() -> str | None:
    """A Chromium on this machine; `BATON_BROWSER` names another."""
    given = os.environ.get("BATON_BROWSER")
    return given or next(filter(None, map(shutil.which, BROWSERS)), None)


def _get_debian_packages() -> None:
    missing = [] if find_browser() else ["chromium"]
    # Streams and scripts are tested against the oldest Redis that is supported, too.
    missing += [] if shutil.which("redis-server") else ["redis-server"]
    if not missing:
        return
    names = " and ".join(missing)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        _say(f"no {names} found and no right to install: the tests that need it are skipped")
        return
    _say(f"installing Debian's {names}")
    environ = os.environ | {
        "DEBIAN_FRONTEND": "noninteractive",
        "RUNLEVEL": "1",  # keeps Debian from starting a Redis of its own
    }
    for step in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run(
            ["apt-get", "-qq", *step],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            _say(f"apt-get failed: the tests that need {names} are skipped")
            return


def _get_node_packages() -> None:
    for folder in NODE_FOLDERS:
        if find_node(folder):
            continue
        name = folder.relative_to(ROOT)
        _say(f"installing the Node packages of {name}")
        if why := install_packages(folder):
            _say(f"{why}: the tests that need {name} are skipped")


def _say(text: str) -> None:
    print(f"test: {text}", flush=True)
