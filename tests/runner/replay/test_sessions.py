"""A session that outlives the process is read once and written once, wherever a run is cut off."""

from pathlib import Path
from typing import Any

import pytest
from agents import Agent, Runner, SQLiteSession, function_tool

from tests.runner.replay.rig import CrashedError, World, attempt, call, outputs, text

pytestmark = pytest.mark.asyncio


def program(path: Path) -> Any:
    def made(_world: World) -> Agent[Any]:
        helper = Agent(name="Helper", instructions="helper")

        @function_tool
        async def remember(word: str) -> str:
            first = await Runner.run(helper, word, session=SQLiteSession("s", path))
            second = await Runner.run(helper, "and?", session=SQLiteSession("s", path))
            return f"{first.final_output} {second.final_output}"

        return Agent(name="A", instructions="outer", tools=[remember])

    return made


def answers(system: str, items: Any) -> Any:
    if system == "helper":
        return [text(str(len(items)))]
    done = outputs(items)
    if len(done) == 2:
        return [text(" | ".join(done.values()))]
    return [call("remember", f"c{len(done)}", word=f"word {len(done)}")]


async def held(path: Path) -> list[str]:
    session = SQLiteSession("s", path)
    try:
        return [str(one.get("content")) for one in await session.get_items()]
    finally:
        session.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_session_is_read_once_and_written_once(tmp_path: Path) -> None:
    whole = World()
    undisturbed = await attempt(program(tmp_path / "whole"), whole, answers=answers)
    assert undisturbed.stop.result == "1 3 | 5 7"
    expected = await held(tmp_path / "whole")
    assert len(expected) == 8
    for steps in range(len(whole.journal)):
        world, path = World(), tmp_path / str(steps)
        with pytest.raises(CrashedError):
            await attempt(program(path), world, answers=answers, dies_at=steps)
        outcome = await attempt(program(path), world, answers=answers)
        assert outcome.stop.result == "1 3 | 5 7", f"after {steps} steps"
        found = await held(path)
        assert len(found) == 8, f"after {steps} steps"
