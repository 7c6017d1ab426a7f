"""A pytest plugin for authors of agents: `pytest -p baton.testing`.

The fixture `baton_agent` runs an agent's file as a runner would, with a model that says what the
test's script says, and no server. The SDK's own `agents.testing` has more for such scripts.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from agents import Model
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call

from runner.carried import StopKind
from runner.drop_ins.load import LoadedAgent
from runner.trials import Memory, Stub, Tried, decided, load_at, tried
from shared.errors import BatonError
from shared.protocol.ids import new_id

__all__ = ["AgentUnderTest", "Asked", "Called", "Ended", "baton_agent", "calls"]

T = TypeVar("T")

#: A model, or what it says call by call: a text, items of output, an exception, a `ModelStep`.
Script = Model | Sequence[Any]


def calls(tool: str, **arguments: Any) -> Any:
    """An item of a script: the model calls this tool, or transfers to another agent."""
    return function_call(tool, arguments, call_id=new_id("call"))


@dataclass(frozen=True, slots=True)
class Called:
    """A tool call, of whatever agent."""

    tool: str
    arguments: dict[str, Any]
    #: What the model was told; `None` where it was told nothing.
    result: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that waits for a person."""

    tool: str
    agent: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    of: "AgentUnderTest"
    model: Model
    memory: Memory
    tried: Tried

    @property
    def final_output(self) -> Any:
        """What the agent answers: a text, or an object of its `output_type`."""
        return self.tried.stop.result

    @property
    def error(self) -> BatonError | None:
        """Why it failed: `code` and `message`, as clients get them."""
        return self.tried.stop.error

    @property
    def events(self) -> list[dict[str, Any]]:
        """What clients get, as AG-UI has it; deltas that follow one another are joined."""
        return self.tried.events

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What the run leaves in the conversation."""
        return self.tried.messages

    @property
    def interruptions(self) -> list[Asked]:
        """What people have to decide before it goes on; see `resume`."""
        asked = (one.record for one in self.tried.stop.asked)
        return [Asked(one.tool, one.agent, _parsed(one.arguments)) for one in asked]

    @property
    def agents(self) -> list[str]:
        """Who worked, in order; those inside tools are not among them."""
        started = (one for one in self.events if one["type"] == "STEP_STARTED")
        return [one["stepName"] for one in started if "subagentRunId" not in one]

    @property
    def last_agent(self) -> str | None:
        """Who worked last."""
        return self.agents[-1] if self.agents else None

    @property
    def calls(self) -> list[Called]:
        """Tool calls that were made or carried out in this run, hand-offs among them."""
        here = {one["toolCallId"] for one in self.events if "toolCallId" in one}
        begun = [one for one in self._all_events() if one["type"] == "TOOL_CALL_START"]
        made = ((one["toolCallId"], one["toolCallName"]) for one in begun)
        return [self._called(call_id, tool) for call_id, tool in made if call_id in here]

    def _called(self, call_id: str, tool: str) -> Called:
        of_it = [one for one in self._all_events() if one.get("toolCallId") == call_id]
        arguments = "".join(one["delta"] for one in of_it if one["type"] == "TOOL_CALL_ARGS")
        results = [one["content"] for one in of_it if one["type"] == "TOOL_CALL_RESULT"]
        return Called(tool, _parsed(arguments), results[-1] if results else None)

    def _all_events(self) -> list[dict[str, Any]]:
        return [*self.memory.events, *self.events]

    def resume(self, *verdicts: bool | str, model: Script | None = None) -> "Ended":
        """Go on with one verdict for each interruption: True, False, or the words of a refusal.

        Raises:
            ValueError: there are fewer or more verdicts than interruptions.
        """
        if len(verdicts) != len(self.interruptions):
            raise ValueError(f"{len(verdicts)} verdicts for {len(self.interruptions)} questions")
        memory = self.memory.copy()
        memory.decisions += decided(self.tried.stop, verdicts)
        memory.left = [*(memory.left or []), *self.messages]
        memory.steps = len(memory.journal)
        memory.events = [*memory.events, *self.events]
        return self.of._carried(memory, self.model if model is None else _model(model))

    def check_replay(self) -> None:
        """Run it again from what was recorded, as after a crash, with the code imported anew.

        Raises:
            AssertionError: it does not come to the same; the code decides by what changes.
        """
        silent = ScriptedModel()
        again = AgentUnderTest(self.of.path, self.of.tools, self.of.max_turns)._carried(
            self.memory.copy(), silent
        )
        asked, failed = len(silent.calls), self.tried.stop.kind is StopKind.FAILED
        if asked and not failed:
            raise AssertionError(f"{asked} model calls are not as recorded: {again.error}")
        if again.tried.unvisited:
            raise AssertionError(f"{again.tried.unvisited} recorded steps were not come to")
        if not asked and (now := _outcome(again)) != (before := _outcome(self)):
            raise AssertionError(f"a replay ends with {now}, and not with {before}")


class AgentUnderTest:
    """An agent's file, loaded as a runner loads it."""

    def __init__(self, path: Path, tools: Mapping[str, Stub], max_turns: int) -> None:
        self.path, self.tools, self.max_turns = path, tools, max_turns
        self.loaded: LoadedAgent = load_at(path)

    def run(
        self,
        said: str,
        model: Script,
        *,
        history: Sequence[Mapping[str, Any]] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> Ended:
        """Say something to it; `history` has messages (`role`, `content`) of before.

        Raises:
            TimeoutError: it did not come to an end within a minute.
        """
        memory = Memory(
            said=[{"id": "said", "role": "user", "content": said}],
            history=[{"id": f"before-{at}"} | dict(one) for at, one in enumerate(history)],
            props=dict(metadata or {}),
        )
        return self._carried(memory, _model(model))

    def _carried(self, memory: Memory, model: Model) -> Ended:
        trying = tried(self.loaded, model, memory, tools=self.tools, max_turns=self.max_turns)
        return Ended(self, model, memory, _in_a_loop_of_its_own(trying))


@pytest.fixture
def baton_agent() -> Callable[..., AgentUnderTest]:
    """Load the agent of a folder or file; `tools` stand in for tools of toolsvc.

    Raises:
        NotServedError: there is nothing at the path, or no agent, or more than one.
        BaseException: whatever the agent's code raises.
    """

    def load(
        path: str | Path, *, tools: Mapping[str, Stub] | None = None, max_turns: int = 25
    ) -> AgentUnderTest:
        return AgentUnderTest(Path(path), tools or {}, max_turns)

    return load


def _model(script: Script) -> Model:
    return script if isinstance(script, Model) else ScriptedModel(_step(one) for one in script)


def _step(said: Any) -> Any:
    """Texts and single items are steps as well."""
    if isinstance(said, str):
        return [assistant_message(said)]
    known = isinstance(said, (ModelStep, Mapping, Exception, list, tuple)) or hasattr(said, "usage")
    return said if known else [said]


def _parsed(arguments: str) -> dict[str, Any]:
    """A call's arguments; a model may have written what is no object."""
    try:
        found = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"": arguments}


def _outcome(ended: Ended) -> dict[str, Any]:
    error = ended.error
    return {
        "kind": ended.tried.stop.kind,
        "final_output": repr(ended.final_output),
        "error": error and (error.code, error.message),
        "messages": ended.messages,
        "interruptions": ended.interruptions,
    }


def _in_a_loop_of_its_own(work: Coroutine[Any, Any, T]) -> T:
    """The test may have a loop running, and agent code may leave things behind in its."""
    with ThreadPoolExecutor(1, "baton_agent") as thread:
        return thread.submit(asyncio.run, work).result()
