"""Record what this release leaves behind: `python -m tests.releases.record`.

Done once for each release, when it is made; what is there is never recorded again. A stack of this
release's processes is talked to, and then left as if all of them had died at once.
"""

import asyncio
import json
import os
import signal
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis

from shared.receipts import KEYS_PATH
from stack.child import Child
from stack.program import ROOT, free_port
from stack.running import Stack, running_stack
from stack.services import Ports, Wiring
from tests.releases import left_behind
from tests.releases.conversation import AGENT, begin_long_runs, converse, taped
from tests.releases.left_behind import AGENTS, RELEASES, SECRETS
from tests.releases.tap import Tap, tapped
from tests.runner.replay.releases import record as journals
from tests.scenarios.client import Person

#: Heartbeats and claims that find nothing are many, and all alike.
_ALIKE = 4


async def recorded(folder: Path) -> None:
    """Fill the folder of a release."""
    env = {"BATON_AGENTS_HOME": str(AGENTS)}
    async with (
        running_stack(runners=0, env=env, credentials=SECRETS) as stack,
        tapped(stack.toolsvc_urls[0]) as tap,
        _runner(stack, tap) as runner,
        _heard(stack) as announced,
    ):
        person = await Person(stack.gateway_urls[0], "ada@example.com").sign_in()
        tape: list[dict[str, str]] = []
        runs = await converse(person, tape)
        runs.append(await _taken_over(person, tape, runner))
        exports = {run: await _exported(person, run) for run in runs}
        keys = (await person.http.get(KEYS_PATH)).content
        begun = await begin_long_runs(person, tape)
        runner.kill(signal.SIGKILL, again=False)
        under_way = await _under_way(stack)
        tables, streams = await left_behind.read(stack.database_url, stack.redis_url())
        await person.http.aclose()
    _write_lines(folder / "exchanges.ndjson", _few_alike(tap.exchanges))
    _write_lines(folder / "frames.ndjson", tape)
    _write_lines(folder / "announced.ndjson", announced)
    (folder / "under-way.ndjson").write_bytes(under_way)
    _write(folder / "tables.json", tables)
    _write(folder / "streams.json", streams)
    _write(folder / "runs.json", {"ended": runs, "begun": begun, "exported": sorted(exports)})
    (folder / "keys.json").write_bytes(keys + b"\n")
    (folder / "exports").mkdir()
    for run, export in exports.items():
        (folder / "exports" / f"{run}.ndjson").write_bytes(export)


@asynccontextmanager
async def _runner(stack: Stack, tap: Tap) -> AsyncIterator[Child]:
    """A runner that knows toolsvc by the tap alone."""
    demo = int((stack.demo_url or "").rpartition(":")[2])
    wiring = Wiring(
        ports=Ports(gateways=(), runners=(free_port(),), toolsvc=(tap.port,), demo=demo),
        credentials=stack.secrets,
        database_url=stack.database_url,
        redis_url=stack.redis_url,
        environ=stack.plan.environ,
        home=stack.plan.folder,
    )
    (program,) = (one for one in wiring.programs() if one.name == "runner-1")
    child = Child(program, show=lambda *_: None, news=lambda *_: None)
    child.start()
    try:
        await child.ready()
        yield child
    finally:
        await child.stop_by_force()


@asynccontextmanager
async def _heard(stack: Stack) -> AsyncIterator[list[dict[str, str]]]:
    """What is published in Redis."""
    heard: list[dict[str, str]] = []
    redis = Redis.from_url(stack.redis_url())
    channels = redis.pubsub()
    await channels.psubscribe("*")

    async def listen() -> None:
        async for message in channels.listen():
            if message["type"] == "pmessage":
                channel, data = message["channel"].decode(), message["data"].decode()
                heard.append({"channel": channel, "message": data})

    listening = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await channels.aclose()  # type: ignore[no-untyped-call]
        await redis.aclose()


async def _taken_over(person: Person, tape: list[dict[str, str]], runner: Child) -> str:
    """A run whose runner died in its middle."""
    async with taped(person, tape) as socket:
        text = '[[turns=3 save_note {"text":"taken over"}]] [[tokens_per_s=10]]'
        ack = await socket.say("thr_taken_over", text, agent=AGENT)
        await socket.until(lambda f: f.get("event", {}).get("type") == "TOOL_CALL_RESULT")
        runner.kill(signal.SIGKILL)
        await socket.finished()
    return str(ack["runId"])


async def _exported(person: Person, run: str) -> bytes:
    answer: httpx.Response = await person.http.get(f"/api/runs/{run}/export")
    answer.raise_for_status()
    return answer.content


async def _under_way(stack: Stack) -> bytes:
    """What claims of the runs under way would answer."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "toolsvc.underway"),
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": stack.database_url},
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    if process.returncode:
        raise SystemExit("the runs under way could not be read")
    return told


def _few_alike(exchanges: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    seen: dict[tuple[str, ...], int] = {}
    for one in exchanges:
        idle = '"claimed":null' in one["answered"]
        if idle or one["path"].endswith("/heartbeat"):
            sort = (one["path"], str("tokens" in one["sent"]), str(idle))
            seen[sort] = seen.get(sort, 0) + 1
            if seen[sort] > _ALIKE:
                continue
        kept.append(one)
    return kept


def _write_lines(file: Path, values: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(one, sort_keys=True) + "\n" for one in values))


def _write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def main() -> int:
    """Record this release, unless that was done."""
    release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    folder = RELEASES / release
    if (folder / "runs.json").exists():
        print(f"{folder} is there already: what a release has left does not change")
        return 1
    folder.mkdir(exist_ok=True)
    asyncio.run(recorded(folder))
    if not (folder / "journals").exists():
        journals.record(folder / "journals")
    print(f"{release} is recorded in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
