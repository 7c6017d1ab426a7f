"""What earlier releases have left is read and gone on with: journals, commits, unknown fields."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.release import covers, grown
from shared.protocol import providers, record
from shared.protocol.brackets import Brackets
from shared.protocol.record import Commit, StepRecord
from shared.protocol.transcript import messages_of
from tests.releases.left_behind import RELEASES as FOLDER
from tests.runner.replay.releases.programs import PROGRAMS
from tests.runner.replay.rig import World, attempt

RELEASES = sorted(FOLDER.glob("*/journals"))
RUNS = [file for release in RELEASES for file in sorted(release.glob("*.json"))]


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def named(file: Path) -> str:
    return f"{file.parent.parent.name}/{file.stem}"


def never(*_: Any) -> Any:
    raise AssertionError("a finished model call is made again")


def test_each_release_has_recorded_each_program_it_had() -> None:
    assert RELEASES
    assert {file.stem for file in RUNS} == set(PROGRAMS)
    assert all(len(read(file)["journal"]) > 1 for file in RUNS)


@pytest.mark.asyncio
@pytest.mark.parametrize("file", RUNS, ids=named)
async def test_a_whole_journal_is_replayed_without_a_call(file: Path) -> None:
    told, (program, _) = read(file), PROGRAMS[file.stem]()
    world = World(journal=[StepRecord.model_validate(step) for step in told["journal"]])
    outcome = await attempt(program, world, answers=never)
    assert str(outcome.stop.result) == told["result"]
    assert outcome.seen["messages"] == told["messages"]


@pytest.mark.asyncio
@pytest.mark.parametrize("file", RUNS, ids=named)
async def test_a_journal_that_was_cut_off_is_gone_on_with(file: Path) -> None:
    """The release before has died in the middle; this one takes over after any of its steps."""
    told = read(file)
    journal = [StepRecord.model_validate(step) for step in told["journal"]]
    for steps in range(len(journal)):
        program, answers = PROGRAMS[file.stem]()
        world = World(journal=journal[:steps])
        outcome = await attempt(program, world, answers=answers)
        assert str(outcome.stop.result) == told["result"], f"after {steps} steps"
        recorded = sum(step.kind == "model" for step in journal[:steps])
        models = sum(step.kind == "model" for step in journal)
        assert outcome.asked == models - recorded


@pytest.mark.parametrize("file", RUNS, ids=named)
def test_commits_say_what_they_said(file: Path) -> None:
    """toolsvc is replaced before the runners: it understands those of the release before."""
    for told in read(file)["commits"]:
        commit = Commit.model_validate(told)
        assert covers(commit.model_dump(mode="json"), told)
        assert Commit.model_validate(grown(commit, told)) == commit


MESSAGES = [
    kind
    for module in (record, providers)
    for kind in vars(module).values()
    if isinstance(kind, type)
    and issubclass(kind, record._Message.__base__)  # type: ignore[arg-type]
    and kind.__module__ == module.__name__
]


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_messages_between_processes_take_fields_that_nobody_knows(kind: Any) -> None:
    assert kind.model_config["extra"] == "ignore"


def test_kinds_of_events_that_nobody_knows_change_nothing() -> None:
    start = {"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "role": "assistant", "delta": "hello"}
    unknown = {"type": "OF_THE_NEXT_RELEASE", "messageId": "m", "delta": "x", "toolCallId": "c"}
    custom = {"type": "CUSTOM", "name": "baton.of_the_next_release", "value": {}}
    step = {"type": "STEP_STARTED", "stepName": "A"}
    known: list[dict[str, Any]] = [step, start]
    more: list[dict[str, Any]] = [step, unknown, start, custom, unknown]
    assert messages_of(more) == messages_of(known)
    assert Brackets(more).closing() == Brackets(known).closing()
