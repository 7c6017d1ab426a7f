"""What is measured: Baton as `dev.py up` starts it, and the two floors, as running processes."""

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from stack.program import ROOT, answers_ok, free_port
from stack.running import Stack, running_stack

HERE = Path(__file__).resolve().parent
AGENT = "Bench"
WITH_TOOL = "Echo"
#: Each client is a person of its own, as in life: one person's runs are accepted one by one.
PEOPLE = 32
START_S = 30
MODEL_KEY = "demo"
#: As `dev.py up` has them.
_COUNTED = ("gateway-1", "runner-1", "toolsvc-1", "valkey", "postgres")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server under measurement."""

    name: str
    port: int
    processes: dict[str, int]  #: what counts, by name: process ids
    keys: list[str] = field(default_factory=list)
    #: What clients come through: a socket, or chat completions.
    door: Literal["socket", "v1"] = "socket"


@asynccontextmanager
async def timed_model() -> AsyncIterator[int]:
    """The demo model on a port of its own."""
    port = free_port()
    async with _process([str(HERE / "model.py"), str(port)], {}, port, "/healthz"):
        yield port


@asynccontextmanager
async def baton(
    model: int, *, runners: int = 1, settings: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Target, Stack]]:
    """The whole stack, one process of each kind, with stores that keep what they have."""
    env = _model_environment(model) | {
        "OPENAI_TRACING_KEY": MODEL_KEY,
        "BATON_TRACE_ENDPOINT": f"http://127.0.0.1:{model}/v1/traces/ingest",
        "BATON_AGENTS_HOME": str(HERE / "drop_ins"),
        "AGENT_MODEL": "demo",
        **(settings or {}),
    }
    printed = io.StringIO()  # a line for each run: nobody wants to read thousands
    with redirect_stderr(printed):
        async with running_stack(runners=runners, demo=False, env=env, durable=True) as stack:
            port = int(stack.gateway_urls[0].rpartition(":")[2])
            pids = {name: stack.processes[name].pid or 0 for name in _COUNTED}
            keys = [await _key(stack, f"person{n:02}@example.com") for n in range(PEOPLE)]
            yield Target(name="Baton", port=port, processes=pids, keys=keys), stack


@asynccontextmanager
async def bare_sdk(model: int) -> AsyncIterator[Target]:
    """Floor 1: the SDK in a socket handler."""
    port = free_port()
    env = _model_environment(model) | {
        "PORT": str(port),
        "TRACE_ENDPOINT": f"http://127.0.0.1:{model}/v1/traces/ingest",
    }
    async with _process([str(HERE / "floors" / "bare_sdk.py")], env, port, "/readyz") as pid:
        yield Target(name="bare SDK", port=port, processes={"handler": pid})


@asynccontextmanager
async def bare_pipe(model: int, stack: Stack) -> AsyncIterator[Target]:
    """Floor 2: httpx, Redis, socket; its Redis is the one of the stack, which is idle meanwhile."""
    port = free_port()
    env = _model_environment(model) | {"PORT": str(port), "REDIS_URL": stack.redis_url()}
    async with _process([str(HERE / "floors" / "bare_pipe.py")], env, port, "/readyz") as pid:
        pids = {"pipe": pid, "valkey": stack.processes["valkey"].pid or 0}
        yield Target(name="bare pipe", port=port, processes=pids)


def _model_environment(model: int) -> dict[str, str]:
    return {"OPENAI_BASE_URL": f"http://127.0.0.1:{model}/v1", "OPENAI_API_KEY": MODEL_KEY}


async def _key(stack: Stack, email: str) -> str:
    """A key of a new person."""
    async with httpx.AsyncClient(base_url=stack.gateway_urls[0], trust_env=False) as http:
        signed_in = await http.post("/auth/dev-login", json={"email": email})
        signed_in.raise_for_status()
        made = await http.post("/api/keys", json={"name": "bench"})
        made.raise_for_status()
        return str(made.json()["key"])


@asynccontextmanager
async def _process(
    arguments: Sequence[str], env: dict[str, str], port: int, path: str
) -> AsyncIterator[int]:
    """A process of ours for the block, from its first answer on."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(START_S):
            while not await asyncio.to_thread(answers_ok, port, path):
                if process.returncode is not None:
                    raise RuntimeError(f"{arguments[0]} ended with status {process.returncode}")
                await asyncio.sleep(0.05)
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
