"""A rehearsal says whether a run can be replayed, and does nothing that anybody could notice."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, RunHooks, Runner, function_tool, input_guardrail
from agents import GuardrailFunctionOutput as Verdict
from agents.memory import Session

from agent.release import recorded_releases
from runner.catalog import Catalog
from runner.drop_ins.load import LoadedAgent
from runner.kept import KeptCode
from runner.rehearsal import rehearse
from runner.wrap import wrap_agent
from shared.protocol.record import StepRecord
from shared.protocol.rehearsal import Ending, Rehearsed, UnderWay, WhoseCode
from tests.releases.left_behind import AGENTS
from tests.runner.doubles import carried
from tests.runner.replay.rig import CrashedError, World, attempt, call, outputs, text

pytestmark = pytest.mark.asyncio


class Telling(RunHooks[Any]):
    def __init__(self, world: World) -> None:
        self.world = world

    async def on_agent_end(self, *_: Any) -> None:
        self.world.do("hook")


class Remembering(Session):
    """A session that tells when somebody looks into it."""

    session_id, session_settings = "s", None

    def __init__(self, world: World) -> None:
        self.world = world

    async def get_items(self, limit: int | None = None) -> list[Any]:
        self.world.do("read")
        return []

    async def add_items(self, items: list[Any]) -> None:
        self.world.do("wrote")

    async def pop_item(self) -> Any:
        raise AssertionError

    async def clear_session(self) -> None:
        raise AssertionError


def program(world: World) -> Agent[Any]:
    """Everything that has an effect, which a rehearsal must not have."""
    helper = Agent(name="Helper", instructions="helper")

    @input_guardrail
    async def fine(*_: Any) -> Verdict:
        world.do("guarded")
        return Verdict(output_info=None, tripwire_triggered=False)

    @function_tool
    async def ask(what: str) -> str:
        world.do(f"asked {what}")
        session = Remembering(world)
        found = await Runner.run(helper, what, hooks=Telling(world), session=session)
        return str(found.final_output)

    async def approve(*_: Any) -> bool:
        world.do("approval")
        return False

    def enabled(*_: Any) -> bool:
        world.do("enabled")
        return True

    @function_tool(needs_approval=approve, is_enabled=enabled)
    async def pay(euros: int) -> str:
        world.do(f"paid {euros}")
        return "paid"

    as_tool = helper.as_tool("helper", "Helps.", hooks=Telling(world))
    tools: list[Any] = [ask, pay, as_tool]
    return Agent(name="A", instructions="outer", tools=tools, input_guardrails=[fine])


def answers(system: str, items: Any) -> Any:
    if system == "helper":
        return [text(items[0]["content"].upper())]
    match len(outputs(items)):
        case 0:
            return [call("ask", "c1", what="one"), call("helper", "c2", input="two")]
        case 2:
            return [call("pay", "c3", euros=5)]
        case _:
            return [text("done")]


async def cut_off(steps: int) -> list[StepRecord]:
    """The journal of a run whose carrier died when it had so many steps."""
    world = World()
    with pytest.raises(CrashedError):
        await attempt(program, world, answers=answers, dies_at=steps)
    return world.journal


async def whole() -> list[StepRecord]:
    world = World()
    await attempt(program, world, answers=answers)
    return world.journal


async def tried(
    journal: list[StepRecord],
    changed: Callable[[World], Agent[Any]] = program,
    *,
    digest: str = "here",
) -> tuple[Rehearsed, list[str]]:
    """What a rehearsal says, and what was done in it."""
    world = World()
    agent = changed(world)
    wrap_agent(agent)
    catalog = Catalog(KeptCode(Path("/nowhere")))
    catalog.agents["A"] = LoadedAgent("A", "here", agent)
    claimed = carried(None).claimed.model_copy(
        update={
            "journal": journal,
            "messages": [{"id": "m1", "role": "user", "content": "go"}],
            "agent_digest": digest,
        }
    )
    return await rehearse(claimed, catalog), world.done


async def test_a_run_that_was_cut_off_anywhere_replays_and_nothing_is_done() -> None:
    for steps in range(1, len(await whole())):
        journal = await cut_off(steps)
        found, done = await tried(journal)
        assert (found.ending, found.why, found.steps) == (Ending.REPLAYS, None, steps)
        assert done == [], f"after {steps} steps"


async def test_a_whole_journal_replays_to_its_last_step() -> None:
    journal = await whole()
    found, done = await tried(journal)
    assert (found.ending, found.replayed, done) == (Ending.REPLAYS, len(journal), [])
    assert found.code is WhoseCode.SAME


async def test_other_code_that_asks_something_else_is_named_with_the_step() -> None:
    def changed(world: World) -> Agent[Any]:
        agent = program(world)
        agent.name = "B"
        return agent

    found, done = await tried(await whole(), changed, digest="of old")
    assert (found.ending, found.code, done) == (Ending.DIVERGES, WhoseCode.OTHER, [])
    assert found.why
    assert "Replay came to another invocation" in found.why
    assert found.replayed < found.steps


async def test_a_tool_that_is_gone_is_a_divergence_at_the_turn_after_it() -> None:
    def changed(world: World) -> Agent[Any]:
        agent = program(world)
        agent.tools = agent.tools[:1]
        return agent

    found, done = await tried(await whole(), changed)
    assert (found.ending, done) == (Ending.DIVERGES, [])
    assert found.why
    assert "model step '1'" in found.why


async def test_new_code_that_comes_to_something_live_too_early_is_told() -> None:
    def changed(world: World) -> Agent[Any]:
        agent = program(world)

        @input_guardrail
        async def another(*_: Any) -> Verdict:
            world.do("guarded")
            return Verdict(output_info=None, tripwire_triggered=False)

        agent.input_guardrails = [another]
        return agent

    found, done = await tried(await whole(), changed)
    assert (found.ending, done) == (Ending.REPLAYS, [])
    assert found.why
    assert "goes live at guardrail step" in found.why


async def test_an_agent_that_is_not_here_is_told() -> None:
    claimed = carried(None).claimed.model_copy(update={"journal": await whole()})
    catalog = Catalog(KeptCode(Path("/nowhere")), broken={"A": "agent.py:3: SyntaxError"})
    found = await rehearse(claimed, catalog)
    assert (found.ending, found.why) == (Ending.NO_AGENT, "agent.py:3: SyntaxError")


async def test_former_code_that_is_kept_is_tried(tmp_path: Path) -> None:
    """A run of a recorded release, beside new code that would not do."""
    told = (recorded_releases()[-1] / "under-way.ndjson").read_text().splitlines()[1]
    claimed = UnderWay.model_validate_json(told).claimed
    assert claimed is not None
    digest = claimed.agent_digest or ""
    shutil.copytree(AGENTS / "Recorded", tmp_path / digest / "Recorded")
    tools: Any = {"save_note": {"description": "", "parameters": {}}}
    catalog = Catalog(KeptCode(tmp_path), tools)
    catalog.agents["Recorded"] = LoadedAgent("Recorded", "new", Agent(name="Other"))
    found = await rehearse(claimed, catalog)
    assert (found.ending, found.code, found.digest) == (Ending.REPLAYS, WhoseCode.KEPT, digest)
