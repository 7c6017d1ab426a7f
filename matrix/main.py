"""The matrix for the command line: a stack for each upstream, all clients before it."""

import asyncio
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, redirect_stderr
from pathlib import Path
from typing import TextIO

import httpx

from matrix.cells import UPSTREAMS, Row
from matrix.clients import converse, python_for
from stack.program import ROOT
from stack.running import running_stack

AGENTS = Path(__file__).parent / "scene" / "agents"
#: What makes a runner speak one API with its model server.
FORCED = {"responses": "false", "chat": "true"}


async def tried(
    clients: Sequence[str],
    home: Path,
    *,
    install: bool,
    tell: Callable[[str], None],
    upstreams: Iterable[str] = UPSTREAMS,
) -> list[Row]:
    """Try every client at every upstream; Pythons for them and logs are kept below `home`.

    Raises:
        StackError: a stack cannot be started.
    """
    pythons = {one: await asyncio.to_thread(_python, one, home, install) for one in clients}
    rows: list[Row] = []
    for upstream in upstreams:
        tell(f"upstream {upstream}")
        env = {
            "BATON_AGENTS_HOME": str(AGENTS),
            "AGENT_FORCE_CHAT_COMPLETIONS": FORCED[upstream],
        }
        with (home / f"{upstream}.log").open("w") as log:
            rows += await _before(clients, pythons, upstream, env, tell, log)
    return rows


async def _before(
    clients: Sequence[str],
    pythons: Mapping[str, Path | str],
    upstream: str,
    env: Mapping[str, str],
    tell: Callable[[str], None],
    log: TextIO,
) -> list[Row]:
    """All clients before one upstream; `log` gets what the stack has printed."""
    rows: list[Row] = []
    lifetime = AsyncExitStack()
    try:
        stack = await lifetime.enter_async_context(running_stack(demo=True, env=env))
        url = stack.gateway_urls[0]
        key = await _key(url)
        for client in clients:
            tell(f"  {client}")
            rows.append(row := Row(client, upstream))
            python = pythons[client]
            if isinstance(python, str):
                row.missing = python
            else:
                await converse(row, python, url=url, key=key)
    finally:
        with redirect_stderr(log):
            await lifetime.aclose()
    return rows


def _python(client: str, home: Path, install: bool) -> Path | str:
    """The Python of a client, or why there is none."""
    try:
        found = python_for(client, home, install=install)
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines()
        return f"it cannot be installed: {lines[-1] if lines else error}"
    return found or "not installed; `--install` does"


def release() -> str:
    """Which release this is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


async def _key(gateway: str) -> str:
    async with httpx.AsyncClient(
        base_url=gateway, headers={"Origin": gateway}, trust_env=False, timeout=30
    ) as http:
        person = {"email": "matrix@example.com"}
        (await http.post("/auth/dev-login", json=person)).raise_for_status()
        answer = await http.post("/api/keys", json={"name": "matrix"})
        return str(answer.raise_for_status().json()["key"])
