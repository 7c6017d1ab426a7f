"""Steps as they are recorded, and what has to be true of a record before it is replayed.

A record is JSON text, and its digest has two parts: what the step was asked, by which replay sees
whether the code does the same again, and a seal over the record, by which it sees whether somebody
has changed it. Nothing that fails either is carried out.
"""

from hashlib import sha256
from typing import Any

import orjson

from runner.journal import Key, OtherPathError
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import StepRecord

#: What helps against a replay that comes to something else.
CURE = (
    "The agent's code must do the same again: no clock, no random, no environment in its control "
    "flow; docs/replay.md shows the cures."
)
#: Hex characters of a seal: enough against accidents and idle hands.
SEAL_CHARS = 16

#: What a record has, by kind of step, and of which type.
_SHAPES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "model": {"shown": list, "response": dict, "usage": dict},
    "tool": {"shown": dict, "output": object},
    "shown": {"shown": dict},
    "raised": {"shown": list, "error": dict},
    "approval": {"shown": list, "decision": dict},
    "guardrail": {"shown": list, "info": object},
    "error": {"shown": list, "error": dict},
    "session": {"shown": list, "items": list},
    "answer": {"shown": list},
    "compaction": {"shown": list, "summary": (str, type(None)), "more": bool},
}


Recorded = dict[str, Any]


def recorded_as(key: Key, asked: str, record: str) -> StepRecord:
    """The step to commit."""
    digest = f"{asked}.{_seal(record)}"
    return StepRecord(scope=key.scope, kind=key.kind, place=key.place, digest=digest, record=record)


def replayable(key: Key, asked: str, step: StepRecord) -> dict[str, Any]:
    """The record of a step that is asked for again.

    Raises:
        BatonError: `journal_diverged` where the code asks for something else, or the record was
            changed; `invalid_state` where it makes no sense.
    """
    was_asked, _, _ = step.digest.partition(".")
    where = f"{key.kind} step {key.place!r} of {key.scope!r}"
    if was_asked != asked:
        raise BatonError(
            Code.JOURNAL_DIVERGED,
            f"Replay came to another {where} than the one recorded "
            f"({was_asked[:12]} there, {asked[:12]} now). {CURE}",
        )
    if not intact(step):
        raise BatonError(
            Code.JOURNAL_DIVERGED, f"The record of {where} was changed after it was written."
        )
    record = parsed(step)
    if record is None:
        raise BatonError(Code.INVALID_STATE, f"The record of {where} cannot be read.")
    return record


def parsed(step: StepRecord) -> dict[str, Any] | None:
    """A step's record as it was written; `None` for what is no record of its kind."""
    try:
        record: Any = orjson.loads(step.record)
    except orjson.JSONDecodeError:
        return None
    shape = _SHAPES.get(step.kind, {})
    if not isinstance(record, dict):
        return None
    fits = all(name in record and isinstance(record[name], kind) for name, kind in shape.items())
    if fits and step.kind == "model":
        fits = _are_objects(record["shown"]) and _are_items(record["response"].get("output", []))
    return record if fits else None


def _are_objects(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(one, dict) for one in values)


def _are_items(output: Any) -> bool:
    """Whether these can be what a model said; more than that the seal says."""
    return _are_objects(output) and all(isinstance(one.get("type"), str) for one in output)


def other_path(error: OtherPathError) -> BatonError:
    """What is said of a run that begins another invocation than the one recorded."""
    return BatonError(
        Code.JOURNAL_DIVERGED,
        f"Replay came to another invocation than the one recorded: {error}. {CURE}",
    )


def intact(step: StepRecord) -> bool:
    """Whether a record is as it was written."""
    _, _, seal = step.digest.partition(".")
    # Releases before this one wrote none.
    return not seal or seal == _seal(step.record)


def chained(before: str, *steps: StepRecord) -> str:
    """A digest of steps in their order, going on from the one of the steps before; "" at first."""
    for one in steps:
        fields = [before, one.scope, one.kind, one.place, one.digest]
        before = sha256(orjson.dumps(fields)).hexdigest()
    return before


def _seal(record: str) -> str:
    return sha256(record.encode()).hexdigest()[:SEAL_CHARS]
