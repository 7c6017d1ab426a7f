"""Making up for steps that are not replayed one by one: what they leave with the run."""

from collections.abc import Iterable, Sequence

from runner.carried import CarriedRun
from runner.compaction.folding import fold_of
from runner.journal import Key
from runner.models.response import call_ids
from runner.scope import Scope
from runner.steps import Recorded, parsed
from shared.protocol.record import StepRecord

#: Records that stand for all that was recorded inside of what they tell the end of.
_COVERING = frozenset({"tool", "raised", "guardrail"})
#: Records that tell the end of something, inside of which nothing will be asked for any more.
_ENDING = _COVERING | {"shown"}


def make_up(run: CarriedRun, root: Scope, steps: Sequence[StepRecord]) -> None:
    """Leave a run as replaying its first steps would, and its journal as if it had done so.

    `root` is the scope of the root invocation, `steps` the beginning of the journal up to where
    nothing in it was under way.
    """
    # What was summarised before the root invocation has been asked for already.
    steps = [one for one in steps if not run.journal.handed_out(_key(one))]
    covering = {_inside(one) for one in steps if one.kind in _COVERING}
    covered: dict[str, list[StepRecord]] = {}
    for one in steps:
        if outer := _outermost(one.scope, covering):
            covered.setdefault(outer, []).append(one)
            continue
        if one.kind in _COVERING:
            _recall(run, one, covered.pop(_inside(one), ()))
        record = parsed(one) or {"shown": []}
        run.recall(_key(one), record)
        at_root = one.scope == root.name
        _show(run, one, record, at_root=at_root)
        if one.kind == "compaction" and at_root:
            root.fold = fold_of(record) or root.fold
    for left in run.journal.skip(steps, {_inside(one) for one in steps if one.kind in _ENDING}):
        _recall(run, left, [left])


def _show(run: CarriedRun, step: StepRecord, record: Recorded, *, at_root: bool) -> None:
    if step.kind == "model":
        run.saw_call_ids(call_ids(record))
    shown = record["shown"]
    messages = shown if isinstance(shown, list) else [shown]
    run.answered.update(one["toolCallId"] for one in messages if "toolCallId" in one)
    if at_root:
        run.shown += messages


def _recall(run: CarriedRun, outer: StepRecord, inner: Iterable[StepRecord]) -> None:
    for one in inner:
        run.recall(_key(outer), parsed(one) or {})


def _inside(step: StepRecord) -> str:
    """The scope of what ran inside of what a step tells the end of."""
    kind = "guardrail" if step.kind == "guardrail" else "tool"
    return f"{step.scope}/{kind}:{step.place}"


def _outermost(scope: str, among: set[str]) -> str | None:
    """The outermost of some scopes that another one lies in."""
    found, inner = None, scope
    while inner:
        found = inner if inner in among else found
        inner = inner.rpartition("/")[0]
    return found


def _key(step: StepRecord) -> Key:
    return Key(step.scope, step.kind, step.place)
