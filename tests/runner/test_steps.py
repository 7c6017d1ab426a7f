"""What must be true of a record before it is replayed."""

import orjson
import pytest

from runner.journal import Key
from runner.steps import parsed, recorded_as, replayable
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import StepRecord

KEY = Key("run:A:0#0", "model", "0")
RECORD = orjson.dumps({"shown": [], "response": {"output": []}, "usage": {}}).decode()


def refused(asked: str, step: StepRecord) -> BatonError:
    with pytest.raises(BatonError) as error:
        replayable(KEY, asked, step)
    return error.value


def test_a_step_that_is_asked_for_again_gives_its_record() -> None:
    assert replayable(KEY, "asked", recorded_as(KEY, "asked", RECORD)) == orjson.loads(RECORD)


def test_another_question_has_diverged_and_names_the_step() -> None:
    error = refused("another", recorded_as(KEY, "asked", RECORD))
    assert error.code is Code.JOURNAL_DIVERGED
    assert "model step '0' of 'run:A:0#0'" in error.message
    assert "docs/replay.md" in error.message


def test_a_record_that_was_changed_by_hand_is_not_carried_out() -> None:
    step = recorded_as(KEY, "asked", RECORD)
    changed = step.model_copy(update={"record": RECORD.replace("[]", "[1]")})
    error = refused("asked", changed)
    assert (error.code, "was changed" in error.message) == (Code.JOURNAL_DIVERGED, True)


def test_a_record_without_a_seal_was_written_by_an_older_release() -> None:
    step = recorded_as(KEY, "asked", RECORD).model_copy(update={"digest": "asked"})
    assert replayable(KEY, "asked", step)["response"] == {"output": []}


@pytest.mark.parametrize(
    "record",
    [
        "",
        "no json",
        "null",
        "[]",
        "7",
        '{"shown": []}',
        '{"shown": [], "response": "text", "usage": {}}',
        '{"shown": {}, "response": {}, "usage": {}}',
        '{"shown": [7], "response": {"output": []}, "usage": {}}',
        '{"shown": [], "response": {"output": 7}, "usage": {}}',
        '{"shown": [], "response": {"output": [{"type": 7}]}, "usage": {}}',
        "\x80\x04\x95 cos\nsystem",
        '{"__reduce__": ["os.system", ["true"]]}',
        "[" * 100_000,
    ],
)
def test_a_record_of_another_shape_cannot_be_read(record: str) -> None:
    step = recorded_as(KEY, "asked", record)
    assert parsed(step) is None
    assert refused("asked", step).code is Code.INVALID_STATE
