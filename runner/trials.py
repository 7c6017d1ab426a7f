"""Trials: an agent's code run in this process, as a runner would, with no server anywhere.

Loading, the SDK's loop, journal and events are those of a runner. In place of the model servers
stands a model of the caller's, in place of toolsvc this file's memory.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
from agents import Model, ModelProvider, RunConfig

from runner.agent_loop import AgentLoop
from runner.borrowed import patched_sdk
from runner.carried import CarriedRun, Stop
from runner.configure import RunConfigs
from runner.drop_ins.check import found_at
from runner.drop_ins.load import LoadedAgent, load
from runner.drop_ins.rules import read_rules
from runner.drop_ins.source import read_source
from runner.endings import end_of, terminal
from runner.home import ToolThreads
from runner.models.provider import journaled
from runner.outbox import Outbox
from runner.rehearsal import Nobody
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import (
    ClaimedRun,
    Commit,
    CommitAnswer,
    Continued,
    Decision,
    Row,
    StepRecord,
)
from shared.settings import ProcessSettings, RunnerSettings, load_settings
from shared.web.files import file_id, file_link

#: A model that never answers, or a tool that never ends, would hold a test up for good.
PATIENCE_S = 60.0

#: Stands in for a tool of toolsvc: its arguments → its result.
Stub = Callable[..., Any]


class NotServedError(Exception):
    """A path with no agent, or with several."""


@dataclass(slots=True)
class Memory:
    """What is left when a run stops: the steps it has recorded, and what people said to it."""

    said: list[dict[str, Any]]
    history: list[dict[str, Any]] = field(default_factory=list)
    #: What the client sent along as `forwardedProps`.
    props: dict[str, Any] = field(default_factory=dict)
    journal: list[StepRecord] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    #: Files that its code has kept, by their ids.
    files: dict[str, bytes] = field(default_factory=dict)
    #: What the runs that this one resumes left in the conversation, and how many of the steps are
    #: theirs; `None` where it resumes none.
    left: list[dict[str, Any]] | None = None
    steps: int = 0
    #: Their events.
    events: list[dict[str, Any]] = field(default_factory=list)

    def copy(self) -> "Memory":
        """The same once more, to go another way from here."""
        return dataclasses.replace(self, journal=list(self.journal), decisions=list(self.decisions))


@dataclass(frozen=True, slots=True)
class Tried:
    """How a trial ended."""

    stop: Stop
    events: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    #: Recorded steps that this trial did not come to.
    unvisited: int


def load_at(path: Path) -> LoadedAgent:
    """The agent of a folder or file, imported anew.

    Raises:
        NotServedError: there is none at this path, or more than one.
        NotAllowedError: security.yaml forbids something of it.
        YamlFileError: security.yaml says something wrong.
        BaseException: whatever its code raises.
    """
    if not path.exists():
        raise NotServedError(f"There is nothing at {path.absolute()}.")
    found = found_at(path)
    if len(found.agents) != 1:
        names = ", ".join(sorted(found.agents)) or "none"
        raise NotServedError(f"{path} has to be one agent's folder or file; it has {names}.")
    ((name, one),) = found.agents.items()
    with patched_sdk():
        return load(read_source(name, one.file, one.root), None, read_rules(_rules_file()))


def _rules_file() -> Path:
    """Where a runner that is started here would look."""
    return load_settings(ProcessSettings).security_config


async def tried(
    loaded: LoadedAgent,
    model: Model,
    memory: Memory,
    *,
    tools: Mapping[str, Stub],
    max_turns: int,
) -> Tried:
    """Carry a run on from what memory has; its steps are added to that.

    Raises:
        TimeoutError: it did not come to an end.
    """
    asyncio.get_running_loop().set_default_executor(ToolThreads())
    toolsvc = _Toolsvc(memory.journal, tools, memory.files)
    run = _carried(loaded, memory, model, toolsvc)
    loop = AgentLoop(
        run,
        loaded.export,
        max_turns=max_turns,
        replays=asyncio.Semaphore(1),
        context=loaded.context,
    )
    with patched_sdk():
        async with asyncio.timeout(PATIENCE_S):
            stop = await loop.drive()
            await run.sessions.write()
            for event in run.outbox.brackets.closing():
                run.outbox.emit(event)
            run.outbox.hold_back(terminal(run, stop))
            await run.committer.finish(end_of(run, stop))
    started = {"type": "RUN_STARTED", "threadId": "thr_trial", "runId": run.claimed.run_id}
    events = [started, *(orjson.loads(row.data) for row in toolsvc.rows)]
    return Tried(stop, events, run.messages(), unvisited=len(run.journal.left))


def _carried(loaded: LoadedAgent, memory: Memory, model: Model, toolsvc: "_Toolsvc") -> CarriedRun:
    continued = None
    if memory.left is not None:
        messages = [one["id"] for one in memory.left]
        path = [*memory.history, *memory.said, *memory.left]
        continued = Continued(run="run_trial", steps=memory.steps, path=path, messages=messages)
    claimed = ClaimedRun(
        run=uuid4(),
        root=uuid4(),
        thread=uuid4(),
        user=uuid4(),
        run_id="run_trial",
        thread_id="thr_trial",
        agent=loaded.name,
        agent_digest=loaded.digest,
        fence=1,
        starts=[],
        sql_last=(0, 0),
        history=memory.history,
        messages=memory.said,
        input={"forwardedProps": memory.props},
        journal=list(memory.journal),
        decisions=list(memory.decisions),
        continued=continued,
        token="none",  # noqa: S106 - nobody is asked with it
        token_expires=0,
    )
    outbox = Outbox(
        thread=claimed.thread,
        run_id=claimed.run_id,
        fence=1,
        starts=[],
        ttl_s=1,
        changed=lambda _: None,
    )
    record: Any = toolsvc
    nobody: Any = Nobody()
    config = _config_of(claimed, model)
    return CarriedRun(claimed, record=record, outbox=outbox, run_config=config, trace=nobody)


def _config_of(claimed: ClaimedRun, model: Model) -> Callable[[Any], RunConfig]:
    """Every agent asks this model, whatever model it names."""
    asked = journaled(model, timeout_s=PATIENCE_S)
    provider: Any = _Provider(asked)
    make = RunConfigs(RunnerSettings.model_construct(), provider).of(claimed)

    def config(given: Any) -> RunConfig:
        return dataclasses.replace(
            make(given), model=asked, model_provider=provider, tracing_disabled=True
        )

    return config


class _Provider(ModelProvider):
    def __init__(self, model: Model) -> None:
        self._model = model

    def get_model(self, model_name: str | None) -> Model:  # noqa: ARG002 - every name is this one
        return self._model


class _Toolsvc:
    """What toolsvc does for a run, in memory."""

    def __init__(
        self, journal: list[StepRecord], tools: Mapping[str, Stub], files: dict[str, bytes]
    ) -> None:
        self._journal, self._tools, self._files = journal, tools, files
        self.rows: list[Row] = []

    async def commit(self, _run: Any, _token: Any, commit: Commit) -> CommitAnswer:
        self._journal += commit.steps
        self.rows += commit.rows
        return CommitAnswer()

    async def call_tool(self, name: str, arguments: Mapping[str, Any], **_: Any) -> Any:
        if name not in self._tools:
            known = ", ".join(sorted(self._tools)) or "none"
            raise BatonError(
                Code.TOOL_UNKNOWN,
                f"toolsvc's tool {name!r} has no stand-in here; there is {known}.",
            )
        return self._tools[name](**arguments)

    async def put_file(self, name: str, content: bytes, *, token: Any, scope: str) -> str:
        del token
        key = UUID(bytes=sha256(f"{scope}\n{name}\n".encode() + content).digest()[:16])
        self._files[file_id(key)] = content
        return file_link(key, name)

    async def file(self, _token: Any, id_: str) -> bytes:
        if id_ not in self._files:
            raise BatonError(Code.NOT_FOUND)
        return self._files[id_]


def decided(stop: Stop, verdicts: Sequence[bool | str]) -> list[Decision]:
    """What people say to the questions of a run, in their order; a text refuses in these words."""
    return [
        Decision(
            scope=asked.scope,
            call_id=asked.call_id,
            digest=asked.digest,
            approved=verdict is True,
            message=verdict if isinstance(verdict, str) else None,
        )
        for asked, verdict in zip((one.record for one in stop.asked), verdicts, strict=True)
    ]
