"""Running a client's probe: by what has the client, made on demand where asked."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path

from matrix.cells import Cell, Row
from matrix.kinds import CLIENTS, Kind
from stack.node import find_node, install_packages
from stack.program import ROOT

NODE = Path(__file__).parent / "node"
#: All conversations of one client; some wait for a slow model, and Open WebUI starts first.
PATIENCE_S = 400.0
#: What clients would fetch from elsewhere, though nothing here needs it.
ALONE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "AI_SDK_LOG_WARNINGS": "false"}


class NotHereError(Exception):
    """A client is not on this machine; the sentence says how it gets there."""


def python_for(client: str, home: Path, *, install: bool) -> Path:
    """The Python that runs a client's probe.

    Raises:
        NotHereError: the client, or what it runs by, is not installed.
    """
    kind = CLIENTS[client]
    if kind.command and not shutil.which(kind.command):
        raise NotHereError(f"not installed; `pip install {kind.command}` or the like, into PATH")
    if kind.node:
        _require_node(install=install)
    if kind.package is None:
        return Path(sys.executable)
    return _own_python(home / client, kind, install=install)


def _require_node(*, install: bool) -> None:
    if find_node(NODE):
        return
    if not install:
        raise NotHereError("not installed; `--install` does, or `npm ci` in matrix/node")
    if why := install_packages(NODE):
        raise NotHereError(f"it cannot be installed: {why}")


def _own_python(folder: Path, kind: Kind, *, install: bool) -> Path:
    python, done = folder / "bin" / "python", folder / "installed"
    if done.exists():
        return python
    if not install:
        raise NotHereError(f"not installed; `--install` does (`pip install {kind.package}`)")
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "-q", str(kind.package)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines()
        raise NotHereError(f"it cannot be installed: {lines[-1] if lines else error}") from error
    done.touch()
    return python


async def converse(
    row: Row, python: Path, *conversations: str, url: str, key: str, paid: Path
) -> None:
    """Hold conversations of a client, or all, and put into its row what came of them.

    `paid`: where the tool that waits for a person leaves its traces.
    """
    surroundings = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    given = {"BATON_URL": url, "BATON_KEY": key, "BATON_PAID": str(paid), "NO_PROXY": "127.0.0.1"}
    process = await asyncio.create_subprocess_exec(
        *(str(python), "-m", "matrix.probe", row.client, *conversations),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=surroundings | ALONE | given,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert process.stdout is not None  # noqa: S101 - it was asked for
            async for line in process.stdout:
                heard(row, line)
            await process.wait()
    except TimeoutError:
        pass  # what did not come is told of as that
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # with what it has started
            await process.wait()


def heard(row: Row, line: bytes) -> None:
    """Take a line of a probe; what is none was printed by somebody else."""
    try:
        told = json.loads(line)
    except ValueError:
        return
    if not isinstance(told, dict):
        return
    row.version = told.get("version", row.version)
    row.missing = told.get("missing", row.missing)
    if name := told.get("conversation"):
        row.found[name] = Cell(
            why=told.get("why"), note=told.get("note"), offered=told.get("offered", True)
        )
