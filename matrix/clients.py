"""Running a client's probe: by a Python that has the client, made on demand where asked."""

import asyncio
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

from matrix.cells import Row

PROBE = Path(__file__).parent / "probe.py"
#: Clients by the package that a Python of their own has to be given; `None`: ours has them.
PACKAGES: dict[str, str | None] = {
    "curl": None,
    "openai-chat": None,
    "openai-responses": None,
    "agents-sdk": None,
    "langchain": "langchain-openai",
    "litellm": "litellm",
}
#: All conversations of one client; some wait for a slow model.
PATIENCE_S = 300.0


def python_for(client: str, home: Path, *, install: bool) -> Path | None:
    """The Python that has a client; `None` where nobody has installed it.

    Raises:
        subprocess.CalledProcessError: its package cannot be installed.
    """
    package = PACKAGES[client]
    if package is None:
        return Path(sys.executable)
    folder = home / client
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        if not install:
            return None
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "-q", package]
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        done.touch()
    return python


async def converse(row: Row, python: Path, *, url: str, key: str) -> None:
    """Hold all conversations of a client, and put into its row what came of them."""
    surroundings = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(str(python), str(PROBE), row.client),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=surroundings | {"BATON_URL": url, "BATON_KEY": key, "NO_PROXY": "127.0.0.1"},
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert process.stdout is not None  # noqa: S101 - it was asked for
            async for line in process.stdout:
                heard(row, line)
            await process.wait()
    except TimeoutError:
        process.kill()
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
        row.found[name] = told.get("why")
