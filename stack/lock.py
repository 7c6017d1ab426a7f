"""`python3 dev.py lock [--upgrade]`: make requirements.lock anew from pyproject.toml.

Every file of every package has its hash, for all platforms and Pythons from 3.11 on; no host is
named. Versions that still fit stay as they are.
"""

import subprocess
import sys

from stack.program import ROOT

COMMAND = (
    *("uv", "pip", "compile", "pyproject.toml", "--group", "dev", "--universal"),
    *("--python-version", "3.11", "--generate-hashes", "--no-header", "-q"),
    *("-o", "requirements.lock"),
)


def main(arguments: list[str]) -> int:
    """Run uv; further arguments are its own."""
    command = [sys.executable, "-m", *COMMAND, *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode
