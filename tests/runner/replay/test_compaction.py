"""A thread too long for the model is summarised first, once, whoever dies in the middle of it."""

from collections.abc import Sequence
from typing import Any

import pytest
from agents import Agent

from runner.carried import StopKind
from runner.compaction.agent import ACTIVITY, INSTRUCTIONS
from runner.compaction.threads import model_input, standing
from runner.drop_ins.exports import Export
from tests.runner.replay.rig import CrashedError, Items, World, attempt, text

pytestmark = pytest.mark.asyncio

ABOVE = 400
LONG = "word " * 60


def program(_: World) -> Export:
    return Agent(name="A", instructions="Help.")


def answers(system: str, items: Items) -> Sequence[Any]:
    if system != INSTRUCTIONS:
        return [text(f"answer to {len(items)} items: {items[0]['content'][:40]}")]
    said = items[0]["content"]
    parts = [str(number) for number in range(12) if f" {number}: word" in said]
    before = said.partition("\n")[2].partition("\n")[0] if said.startswith("Summary") else ""
    return [text(f"{before}<{','.join(parts)}>")]


def thread(turns: int = 6) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    for number in range(turns):
        said.append({"id": f"u{number}", "role": "user", "content": f"{number}: {LONG}"})
        said.append({"id": f"a{number}", "role": "assistant", "content": "yes"})
    return said


def world(turns: int = 6, above: int | None = ABOVE) -> World:
    return World(history=thread(turns), compacts_above=above)


def summaries(asked: list[tuple[str, str]]) -> int:
    return sum(system == INSTRUCTIONS for system, _ in asked)


async def test_what_is_too_long_is_summarised_and_the_newest_is_kept_as_it_was_said() -> None:
    made = world()
    outcome = await attempt(program, made, answers=answers)
    assert outcome.stop.kind is StopKind.FINISHED
    (activity,) = outcome.run.messages()
    assert (activity["role"], activity["activityType"]) == ("activity", ACTIVITY)
    assert activity["content"]["until"] == "a3"
    assert activity["content"]["summary"] == "<0,1><2,3>"
    assert str(outcome.stop.result).startswith("answer to 6 items: Summary of the conversation")
    assert summaries(made.asked) == 2
    assert outcome.run.usage["scripted"]["totalTokens"] == 3 * len(made.asked)
    # Nothing of the thread itself was changed, and the next run begins with the summary.
    later = [*made.history, *outcome.run.messages()]
    summary, left = standing(later)
    assert summary == "<0,1><2,3>"
    assert [one["id"] for one in left][:2] == ["u4", "a4"]
    assert len(model_input(summary, left)) < len(later)


@pytest.mark.parametrize("dies_at", [0, 1, 2])
async def test_whoever_takes_over_finds_what_was_summarised(dies_at: int) -> None:
    whole = await attempt(program, world(), answers=answers)
    made = world()
    with pytest.raises(CrashedError):
        await attempt(program, made, answers=answers, dies_at=dies_at)
    asked = summaries(made.asked)
    made.compacts_above = 10_000_000  # whatever the settings say by now
    if dies_at == 0 or dies_at == 1:  # nothing is recorded: it is decided anew
        made.compacts_above = ABOVE
    outcome = await attempt(program, made, answers=answers)
    assert outcome.seen == whole.seen
    assert summaries(made.asked) - asked == 2 - min(dies_at, 2)


async def test_a_run_under_way_is_not_summarised_because_settings_have_changed() -> None:
    made = world(above=None)
    with pytest.raises(CrashedError):
        await attempt(program, made, answers=answers, dies_at=0)
    plain = await attempt(program, made, answers=answers)
    again = made.copy()
    again.history, again.compacts_above = made.history, ABOVE
    assert (await attempt(program, again, answers=answers)).seen == plain.seen
    assert summaries(again.asked) == 0


async def test_where_it_fails_the_run_goes_on_with_all_of_it_also_in_a_replay() -> None:
    def failing(system: str, items: Items) -> Sequence[Any]:
        if system == INSTRUCTIONS:
            raise ValueError("no")
        return answers(system, items)

    made = world()
    outcome = await attempt(program, made, answers=failing)
    assert outcome.stop.kind is StopKind.FINISHED
    assert outcome.run.messages() == []
    assert str(outcome.stop.result).startswith("answer to 13 items")
    assert (await attempt(program, made, answers=answers)).seen == outcome.seen


@pytest.mark.parametrize(("turns", "above"), [(0, 1), (1, ABOVE), (6, 10_000), (6, None)], ids=repr)
async def test_what_fits_and_what_is_new_is_left_alone(turns: int, above: int | None) -> None:
    made = world(turns, above)
    outcome = await attempt(program, made, answers=answers)
    assert outcome.run.messages() == []
    assert str(outcome.stop.result).startswith(f"answer to {2 * turns + 1} items")
    assert summaries(made.asked) == 0
