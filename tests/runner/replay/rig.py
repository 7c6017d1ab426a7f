"""Replay in one process: an agent's run is cut off after any step and carried on by another.

A `World` is what outlives a crash: the journal that toolsvc keeps, and what tools did outside. The
agent itself is made anew for every attempt, as another process would.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import orjson
from agents import Agent, Model, ModelProvider, ModelResponse, RunConfig
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseUsage,
)

from runner.agent_loop import AgentLoop
from runner.carried import CarriedRun, Stop, StopKind
from runner.configure import RunConfigs
from runner.drop_ins.exports import ContextFactory, Export
from runner.home import ToolThreads
from runner.models.digest import digest_of
from runner.models.provider import journaled
from runner.outbox import Outbox
from runner.wrap import wrap_agent
from shared.protocol.record import (
    ClaimedRun,
    Commit,
    CommitAnswer,
    Continued,
    Decision,
    StepRecord,
)
from shared.settings.runner import TraceContent

CODE = "the agent's code"
RUN, THREAD, USER = (UUID(int=n) for n in (1, 2, 3))


@dataclass
class World:
    """What is left when a process dies."""

    journal: list[StepRecord] = field(default_factory=list)
    #: Model calls that were really made: the agent that asked, and the digest of its input.
    asked: list[tuple[str, str]] = field(default_factory=list)
    #: What tools and hooks did, in order.
    done: list[str] = field(default_factory=list)
    #: The newest snapshot that was stored.
    snapshot: str | None = None
    #: What toolsvc was told, as it was told.
    commits: list[Commit] = field(default_factory=list)
    #: What people have decided.
    decisions: list[Decision] = field(default_factory=list)
    #: What was said before the run; and above how many tokens of it all is summarised.
    history: list[dict[str, Any]] = field(default_factory=list)
    compacts_above: int | None = None
    #: What the client sent beside its words.
    input: dict[str, Any] = field(default_factory=dict)

    def do(self, what: str) -> None:
        self.done.append(what)

    def copy(self) -> "World":
        """The same once more, to go another way from here."""
        copied = World(list(self.journal), list(self.asked), list(self.done), self.snapshot)
        copied.decisions = list(self.decisions)
        return copied


Items = list[dict[str, Any]]
#: What a model answers to (its system prompt, the input items): output items.
Answers = Callable[[str, Items], Sequence[Any]]


def text(said: str) -> ResponseOutputMessage:
    part = ResponseOutputText(type="output_text", text=said, annotations=[], logprobs=[])
    return ResponseOutputMessage(
        id=f"m_{uuid4().hex}",
        type="message",
        role="assistant",
        status="completed",
        content=[part],
    )


def call(name: str, id_: str, **arguments: Any) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(
        id=f"f_{uuid4().hex}",
        type="function_call",
        name=name,
        call_id=id_,
        arguments=orjson.dumps(arguments).decode(),
        status="completed",
    )


class Scripted(Model):
    """A model server that answers by the input alone; what it was asked is the world's to know."""

    def __init__(self, world: World, answers: Answers) -> None:
        self.world, self.answers = world, answers

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        raise AssertionError("the wrapper streams")

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        system = (args[0] if args else kwargs["system_instructions"]) or ""
        given = _items(args[1] if len(args) > 1 else kwargs["input"])
        self.world.asked.append((system, digest_of("", given)))
        await asyncio.sleep(0)
        output = list(self.answers(system, given))
        usage = ResponseUsage.model_validate(
            {
                "input_tokens": 2,
                "output_tokens": 1,
                "total_tokens": 3,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0},
            }
        )
        for index, item in enumerate(output):
            yield SimpleNamespace(type="response.output_item.done", output_index=index, item=item)
        response = Response.construct(id=f"r_{uuid4().hex}", output=output, usage=usage)
        yield ResponseCompletedEvent.construct(type="response.completed", response=response)


def _items(given: Any) -> Items:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return [one if isinstance(one, dict) else one.model_dump(exclude_unset=True) for one in given]


def outputs(items: Items) -> dict[str, str]:
    """Results of tool calls in an input, by call id."""
    return {
        one["call_id"]: one["output"] if "output" in one else one["status"]
        for one in items
        if one.get("type", "").endswith("call_output")
    }


class _Provider(ModelProvider):
    def __init__(self, model: Model) -> None:
        self.model = model

    def get_model(self, model_name: str | None) -> Model:
        return self.model


class CrashedError(Exception):
    """The process is gone."""


class _Toolsvc:
    """Commits into the world; from the step `dies_at` on it never answers again."""

    def __init__(self, world: World, dies_at: int | None) -> None:
        self.world, self.dies_at = world, dies_at
        self.dead = asyncio.Event()

    async def commit(self, _run: Any, _token: str, commit: Commit) -> CommitAnswer:
        self.world.commits.append(commit)
        for step in commit.steps:
            if self.dies_at is not None and len(self.world.journal) >= self.dies_at:
                self.dead.set()
                await asyncio.get_running_loop().create_future()
            self.world.journal.append(step)
        self.world.snapshot = commit.snapshot or self.world.snapshot
        return CommitAnswer()


@dataclass
class Outcome:
    """How an attempt ended, as far as anybody can see."""

    stop: Stop
    run: CarriedRun
    #: How many model calls it made itself.
    asked: int
    #: Whether it began from a snapshot that led elsewhere.
    began_again: bool

    @property
    def seen(self) -> dict[str, Any]:
        """What must be the same however often the run was taken over."""
        return {
            "kind": self.stop.kind,
            "error": self.stop.error and (self.stop.error.code, self.stop.error.message),
            "result": self.stop.result,
            "messages": [_without_ids(one) for one in self.run.messages()],
            "usage": self.run.usage,
        }


#: Makes the agent of an attempt, for a world.
Program = Callable[[World], Export]


async def attempt(
    program: Program,
    world: World,
    said: str = "go",
    *,
    dies_at: int | None = None,
    answers: Answers,
    context: Any = None,
    max_turns: int = 12,
    replays: asyncio.Semaphore | None = None,
    resumes: bool = False,
    code: str | None = CODE,
    make_context: ContextFactory | None = None,
) -> Outcome:
    """Carry the world's run on with a fresh process; or resume it, as a run of its own.

    Raises:
        CrashedError: it died at step `dies_at`.
    """
    toolsvc: Any = _Toolsvc(world, dies_at)
    asyncio.get_running_loop().set_default_executor(ToolThreads())
    model = journaled(Scripted(world, answers), timeout_s=20)
    model.name = "scripted"  # type: ignore[attr-defined]
    model.compacts_above = world.compacts_above  # type: ignore[attr-defined]
    provider = _Provider(model)
    run = _carried(toolsvc, world, said, provider, resumes=resumes)
    if context is not None:
        run.context = context
    before = len(world.asked)
    journal, others = run.journal, asyncio.all_tasks()
    agent = program(world)
    if isinstance(agent, Agent):
        wrap_agent(agent)
    loop = AgentLoop(
        run,
        agent,
        max_turns=max_turns,
        replays=replays or asyncio.Semaphore(1),
        code=code,
        context=make_context,
    )
    driving = copy_context().run(asyncio.ensure_future, loop.drive())
    dying = asyncio.ensure_future(toolsvc.dead.wait())
    try:
        async with asyncio.timeout(60):
            await asyncio.wait({driving, dying}, return_when=asyncio.FIRST_COMPLETED)
        if not driving.done():
            raise CrashedError
        asked = len(world.asked) - before
        return Outcome(driving.result(), run, asked, began_again=run.journal is not journal)
    finally:
        # MCP servers are processes of their own, which see for themselves that they are left.
        driving.cancel()
        if held := [one for one in asyncio.all_tasks() - others if one.get_name()[:4] == "mcp "]:
            await asyncio.wait(held)
        # A process that dies takes everything along, what the SDK makes of a cancel included.
        while left := asyncio.all_tasks() - others:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=0.02)


def _carried(
    toolsvc: Any, world: World, said: str, provider: ModelProvider, *, resumes: bool
) -> CarriedRun:
    journal = list(world.journal)
    steps = len(journal)
    continued = Continued(run="run_0", steps=steps, path=[], messages=[]) if resumes else None
    claimed = ClaimedRun(
        run=RUN,
        root=RUN,
        thread=THREAD,
        user=USER,
        run_id="run_1",
        thread_id="thr_1",
        agent="A",
        fence=1,
        starts=[],
        sql_last=(0, 0),
        history=world.history,
        messages=[{"id": "m1", "role": "user", "content": said}],
        input=world.input,
        journal=journal,
        snapshot=world.snapshot,
        decisions=world.decisions,
        continued=continued,
        token="token",
        token_expires=0,
    )
    outbox = Outbox(
        thread=THREAD, run_id="run_1", fence=1, starts=[], ttl_s=60, changed=lambda _: None
    )

    settings: Any = SimpleNamespace(model_timeout_s=20, trace_content=TraceContent.REDACTED)
    upstream: Any = provider
    configs = RunConfigs(settings, upstream).of(claimed)

    def config(given: RunConfig | None) -> RunConfig:
        return replace(configs(given), tracing_disabled=True)

    trace: Any = SimpleNamespace(take=list, cut_off=list, stored=lambda _: None, silent=False)
    return CarriedRun(claimed, record=toolsvc, outbox=outbox, run_config=config, trace=trace)


async def assert_ends_alike(program: Program, answers: Answers, **options: Any) -> Outcome:
    """Cut the run off at every step; whoever goes on comes to the same end.

    For programs whose siblings race, so that no two attempts commit the same steps.
    """
    undisturbed = await attempt(program, World(), answers=answers, **_fresh(options))
    for steps in itertools.count():
        world = World()
        try:
            await attempt(program, world, answers=answers, dies_at=steps, **_fresh(options))
        except CrashedError:
            second = await attempt(program, world, answers=answers, **_fresh(options))
            assert second.seen["error"] == undisturbed.seen["error"], f"after {steps} steps"
        else:
            return undisturbed
    raise AssertionError("unreachable")


async def assert_replays(
    program: Program,
    answers: Answers,
    *,
    racing: bool = False,
    cuts: int | None = None,
    **options: Any,
) -> Outcome:
    """Cut the run off at every step; whoever goes on comes to the same, and asks nothing twice.

    A tool that tells the world its call's id has told it once. Where siblings are `racing`, their
    results may be shown in any order. A run of more than `cuts` steps is cut off at every second
    of them, or third, or so: to cut it off everywhere costs the square of its length.
    """
    whole = World()
    undisturbed = await attempt(program, whole, answers=answers, **_fresh(options))
    models = sum(step.kind in ("model", "error") for step in whole.journal)
    assert models == len(whole.asked)
    for steps in range(len(whole.journal), -1, -1 - len(whole.journal) // (cuts or 1_000)):
        world = World()
        if steps < len(whole.journal):
            with _crash():
                await attempt(program, world, answers=answers, dies_at=steps, **_fresh(options))
        else:
            await attempt(program, world, answers=answers, **_fresh(options))
        assert len(world.journal) == min(steps, len(whole.journal))
        recorded = sum(step.kind in ("model", "error") for step in world.journal)
        done, places = len(world.done), {step.place for step in world.journal}
        for left in (replace(world.copy(), snapshot=None), world):
            second = await attempt(program, left, answers=answers, **_fresh(options))
            expected, found = undisturbed.seen, second.seen
            how = f"after {steps} steps, {'with' if second.run.restored else 'without'} a snapshot"
            if racing:
                for seen in (expected, found):
                    seen["messages"].sort(key=str)
            for name, value in expected.items():
                assert found[name] == value, f"{name} {how}: {found[name]} for {value}"
            assert second.asked == models - recorded, how
            assert not (again := places & set(left.done[done:])), f"{again} {how}"
            # What fails in the replay itself is looked at once more from its beginning.
            assert not second.began_again or undisturbed.stop.kind is StopKind.FAILED, how
            assert sorted(map(_key, left.journal)) == sorted(map(_key, whole.journal))
    return undisturbed


def _fresh(options: dict[str, Any]) -> dict[str, Any]:
    """Options for one attempt: a `context` is made anew each time, like the agent."""
    context = options.get("context")
    return options | ({"context": context()} if context else {})


@contextmanager
def _crash() -> Any:
    try:
        yield
    except CrashedError:
        return
    raise AssertionError("the run ended before it was to die")


def _key(step: StepRecord) -> tuple[str, str, str]:
    """Where a step belongs; ids that were made because the model repeated one are all alike."""
    made = "call_"
    scope = "/".join(
        f"tool:{made}" if part.startswith(f"tool:{made}") else part
        for part in step.scope.split("/")
    )
    return scope, step.kind, made if step.place.startswith(made) else step.place


def _without_ids(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != "id"}


__all__ = [
    "CrashedError",
    "Outcome",
    "StopKind",
    "World",
    "assert_ends_alike",
    "assert_replays",
    "attempt",
    "call",
    "outputs",
    "text",
]
