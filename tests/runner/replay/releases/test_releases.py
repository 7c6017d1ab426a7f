"""What earlier releases have left is read and gone on with: journals, commits, unknown fields."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.protocol import providers, record
from shared.protocol.brackets import Brackets
from shared.protocol.frames import CLIENT_FRAME
from shared.protocol.record import Commit, StepRecord
from shared.protocol.transcript import messages_of
from tests.runner.replay.releases.programs import PROGRAMS
from tests.runner.replay.releases.record import FOLDER
from tests.runner.replay.rig import World, attempt

RELEASES = sorted(FOLDER.iterdir())
RUNS = [file for release in RELEASES for file in sorted(release.glob("*.json"))]


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def named(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


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
        assert subset(told, commit.model_dump(mode="json"))
        assert Commit.model_validate(with_more(told)) == commit


def subset(told: Any, read_: Any) -> bool:
    """Whether all that was told is there; fields that came later may stand beside it."""
    if isinstance(told, dict):
        return all(name in read_ and subset(value, read_[name]) for name, value in told.items())
    if isinstance(told, list):
        return len(told) == len(read_) and all(map(subset, told, read_))
    return bool(told == read_)


def with_more(told: Any) -> Any:
    """The same with a field that nobody knows in the message and the messages inside."""
    if not isinstance(told, dict):
        return told
    inner = {"steps", "spans"}
    grown = {
        name: [with_more(one) for one in value]
        if isinstance(value, list) and name in inner
        else value
        for name, value in told.items()
    }
    if isinstance(grown.get("end"), dict):
        grown["end"] = with_more(grown["end"])
    return grown | {"fieldOfTheNextRelease": {"x": 1}}


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


@pytest.mark.parametrize(
    "frame",
    [
        {"op": "subscribe", "id": "a", "threadId": "t"},
        {"op": "unsubscribe", "id": "a", "threadId": "t"},
        {"op": "cancel", "id": "a", "threadId": "t", "runId": "r"},
        {"op": "ping", "id": "a"},
    ],
)
def test_frames_of_later_clients_are_understood(frame: dict[str, Any]) -> None:
    later = CLIENT_FRAME.validate_python(frame | {"fieldOfTheNextRelease": 1})
    assert later == CLIENT_FRAME.validate_python(frame)


def test_kinds_of_events_that_nobody_knows_change_nothing() -> None:
    start = {"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "role": "assistant", "delta": "hello"}
    unknown = {"type": "OF_THE_NEXT_RELEASE", "messageId": "m", "delta": "x", "toolCallId": "c"}
    custom = {"type": "CUSTOM", "name": "baton.of_the_next_release", "value": {}}
    step = {"type": "STEP_STARTED", "stepName": "A"}
    known: list[dict[str, Any]] = [step, start]
    more: list[dict[str, Any]] = [step, unknown, start, custom, unknown]
    assert messages_of(more) == messages_of(known)
    assert Brackets(more).closing() == Brackets(known).closing()
