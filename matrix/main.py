"""The matrix for the command line: a stack for each upstream, all clients before it."""

import asyncio
import platform
import subprocess
import tomllib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import httpx

from matrix.cells import Row
from matrix.clients import NODE, NotHereError, converse, python_for
from matrix.kinds import UPSTREAMS
from stack.node import find_node
from stack.program import ROOT
from stack.running import running_stack

AGENTS = Path(__file__).parent / "scene" / "agents"
#: What makes a runner speak one API with its model server.
FORCED = {"responses": "false", "chat": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A stack before one upstream; `paid`: where its agents leave their traces."""

    upstream: str
    url: str
    key: str
    paid: Path

    async def tried(self, client: str, python: Path | str, *conversations: str) -> Row:
        """Hold conversations with a client, or all; a `python` of words says why it cannot be."""
        row = Row(client, self.upstream)
        if isinstance(python, str):
            row.missing = python
        else:
            where = {"url": self.url, "key": self.key}
            await converse(row, python, *conversations, **where, paid=self.paid)
        return row


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
    pythons = {
        one: await asyncio.to_thread(python_or_why, one, home, install=install) for one in clients
    }
    rows: list[Row] = []
    for upstream in upstreams:
        tell(f"upstream {upstream}")
        async with scene(upstream, home) as here:
            for client, python in pythons.items():
                tell(f"  {client}")
                rows.append(await here.tried(client, python))
    return rows


@asynccontextmanager
async def scene(upstream: str, home: Path) -> AsyncIterator[Scene]:
    """A stack before an upstream; what it prints is kept below `home`.

    Raises:
        StackError: it cannot be started.
    """
    paid = (home / f"{upstream}.paid").absolute()
    paid.write_text("")
    env = {
        "BATON_AGENTS_HOME": str(AGENTS),
        "AGENT_FORCE_CHAT_COMPLETIONS": FORCED[upstream],
        "AGENT_MATRIX_PAID": str(paid),
    }
    lifetime = AsyncExitStack()
    try:
        stack = await lifetime.enter_async_context(running_stack(demo=True, env=env))
        url = stack.gateway_urls[0]
        yield Scene(upstream=upstream, url=url, key=await _key(url), paid=paid)
    finally:
        with (home / f"{upstream}.log").open("w") as log, redirect_stderr(log):
            await lifetime.aclose()


def python_or_why(client: str, home: Path, *, install: bool) -> Path | str:
    """The Python that runs a client, or why there is none."""
    try:
        return python_for(client, home, install=install)
    except NotHereError as error:
        return str(error)


def release() -> str:
    """Which release this is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def run_by() -> str:
    """What runs the clients here, in words."""
    python = f"Python {platform.python_version()}"
    node = find_node(NODE)
    if node is None:
        return python
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    return f"{python} and Node.js {said.stdout.strip().removeprefix('v')}"


async def _key(gateway: str) -> str:
    async with httpx.AsyncClient(
        base_url=gateway, headers={"Origin": gateway}, trust_env=False, timeout=30
    ) as http:
        person = {"email": "matrix@example.com"}
        (await http.post("/auth/dev-login", json=person)).raise_for_status()
        answer = await http.post("/api/keys", json={"name": "matrix"})
        return str(answer.raise_for_status().json()["key"])
