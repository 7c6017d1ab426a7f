"""A demo model of its own for the tests of this folder."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def demo_url() -> Iterator[str]:
    """The root URL of a demo model, `http://…` without `/v1`."""
    command = [sys.executable, "-m", "stack.demo_model", "--port", "0"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        try:
            yield line.split()[-1].removesuffix("/v1")
        finally:
            server.terminate()
