"""Inside a nursery: `python -m tests.faults.process URL`, where URL is the demo model's.

It reads a line of JSON for each process to fork, and writes one for each that has ended.
"""

import asyncio
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import aiohttp

from tests.faults import points
from tests.faults.nursery import CLAIMS, MODULES, Act, Fault


class _Faults:
    """Carries out the faults of this process as it passes their points."""

    def __init__(self, faults: list[Fault], record: str | None) -> None:
        self._left = [(fault, list(fault.armed_by)) for fault in faults]
        self._record = Path(record) if record else None
        self._seen = set[str]()
        self._lock = threading.Lock()

    def passed(self, point: str) -> None:
        with self._lock:
            self._write_down(point)
            due = self._due(point)
        for fault in due:
            _do(fault)

    def _write_down(self, point: str) -> None:
        """Each point as it is passed first, and again as it is passed first since a claim."""
        if self._record is None:
            return
        if point == CLAIMS:
            self._seen.clear()
        if point not in self._seen:
            self._seen.add(point)
            with self._record.open("a") as file:
                file.write(point + "\n")

    def _due(self, point: str) -> list[Fault]:
        due = []
        for one in list(self._left):
            fault, arming = one
            if arming:
                if arming[0] == point:
                    arming.pop(0)
                if arming:
                    continue
            if fault.point == point:
                self._left.remove(one)
                due.append(fault)
        return due


class CutError(aiohttp.ClientOSError):
    """A lost connection, as both Redis's and toolsvc's clients know it."""


def _do(fault: Fault) -> None:
    line = json.dumps({"fault": fault.act, "point": fault.point, "at": time.time()})
    os.write(1, f"\n{line}\n".encode())  # another thread may be in the middle of its line
    match fault.act:
        case Act.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Act.FREEZE:
            os.kill(os.getpid(), signal.SIGSTOP)
        case Act.END:
            os.kill(os.getpid(), signal.SIGTERM)
        case Act.CUT:
            raise CutError(f"cut at {fault.point}")


def _become(wanted: dict[str, Any]) -> NoReturn:
    """In the forked process: be a runner or toolsvc, as if started by the command line."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = [f"-m {wanted['program']}"]
    os.environ.clear()
    os.environ.update(wanted["env"])
    faults = [
        Fault(point=one["point"], act=Act(one["act"]), armed_by=tuple(one["armed_by"]))
        for one in wanted["faults"]
    ]
    for name, value in wanted["constants"].items():
        module, _, constant = name.rpartition(".")
        assert hasattr(sys.modules[module], constant), name
        setattr(sys.modules[module], constant, value)
    points.watch(_Faults(faults, wanted["record"]).passed)
    status = 1
    try:
        sys.modules[f"{wanted['program']}.__main__"].main()
        status = 0
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 1
    except BaseException:  # noqa: BLE001 - whatever it is, this fork must not become a nursery
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(status)


async def _warm_up(model_url: str) -> None:
    """A first run imports and compiles half a second's worth, which each fork would do again."""
    agents: Any = importlib.import_module("agents")
    clients: Any = importlib.import_module("runner.models.client")

    async def warm(text: str) -> str:
        return text

    async with clients.LeanClient(base_url=model_url, api_key="demo") as client:
        model = agents.OpenAIResponsesModel("demo", client)
        agent = agents.Agent(
            name="A",
            model=model,
            tools=[agents.function_tool(warm), agents.Agent(name="B").as_tool("b", "B")],
        )
        text = 'warm [[tool=warm {"text": "up"}]]'
        result = agents.Runner.run_streamed(
            agent, text, run_config=agents.RunConfig(tracing_disabled=True)
        )
        async for _ in result.stream_events():
            pass


def _tell(**what: Any) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def main() -> None:
    """Fork until standard input closes; then kill what was forked."""
    points.rewrite(MODULES)
    for name in ("runner.__main__", "toolsvc.__main__"):
        importlib.import_module(name)
    asyncio.run(_warm_up(sys.argv[1]))
    gc.freeze()

    assert threading.active_count() == 1, "a fork has only one of them"
    children: set[int] = set()

    def reap(*_: object) -> None:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                children.discard(found[0])
                _tell(pid=found[0], status=os.waitstatus_to_exitcode(found[1]))

    signal.signal(signal.SIGCHLD, reap)
    for line in sys.stdin:
        wanted = json.loads(line)
        # A child that dies at once must not be told of before its birth.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            _become(wanted)
        children.add(pid)
        _tell(id=wanted["id"], pid=pid, log=wanted["log"])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    for pid in list(children):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
