"""The judge finds each kind of violation, and none in a clean record."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from drill.evidence import Effect, SpanRow
from drill.judge import judge_chain
from drill.plan import FaultKind
from drill.records import Request, Victim
from drill.verdict import Wrong
from tests.drill.scene import (
    ONE,
    RESUMED,
    STORED,
    TWO,
    Scene,
    ask,
    call,
    chunk,
    finished,
    hit,
    restated,
    seen,
    thread,
)


def test_a_clean_record_has_no_violations() -> None:
    assert Scene().found() == set()


# -- runs ------------------------------------------------------------------------------------------


def never_stored(scene: Scene) -> None:
    scene.asks["run_c0x2x"] = ask("run_c0x2x", answer=None, ledger=0, notes=0)
    scene.accepted["run_c0x2x"] = 3.0


def still_running(scene: Scene) -> None:
    scene.ends(TWO, "running")
    scene.stored.pop()
    scene.frames.pop()
    del scene.ended[TWO]


def end_never_shown(scene: Scene) -> None:
    scene.frames.pop()
    del scene.ended[TWO]


@pytest.mark.parametrize("spoil", [never_stored, still_running, end_never_shown])
def test_lost_runs_are_found(spoil: Callable[[Scene], None]) -> None:
    scene = Scene()
    spoil(scene)
    assert Wrong.LOST in scene.found()


def test_a_drill_that_was_cut_short_has_lost_nothing() -> None:
    scene = Scene(cut_short=True)
    still_running(scene)
    assert scene.found() == set()


def test_an_end_that_a_reset_told_of_is_no_loss() -> None:
    scene = Scene()
    scene.frames = [*scene.frames[:8], restated("3-6")]
    del scene.ended[TWO]
    assert scene.found() == set()


def test_failures_without_a_cause_are_found() -> None:
    scene = Scene()
    scene.ends(TWO, "failed", "journal_diverged")
    assert scene.found() == {Wrong.FAILED}


def test_an_unknown_outcome_needs_a_dead_toolsvc() -> None:
    scene = Scene()
    scene.ends(TWO, "failed", "tool_outcome_unknown")
    assert scene.found() == {Wrong.FAILED}
    scene.hits = [hit(FaultKind.KILL_RUNNER, at=4.0), hit(FaultKind.KILL_TOOLSVC, at=1.5)]
    assert scene.found() == {Wrong.FAILED}
    scene.hits.append(hit(FaultKind.KILL_TOOLSVC, at=4.0))
    assert scene.found() == set()


def test_only_what_was_cancelled_may_be_cancelled() -> None:
    scene = Scene()
    scene.ends(TWO, "cancelled")
    assert scene.found() == {Wrong.FAILED}
    scene.cancels = {TWO}
    assert scene.found() == set()


def test_a_request_refused_for_good_is_found() -> None:
    refused = Request(op="run", run=TWO, asked_at=2.0, over_at=2.1, code="conflict")
    refused.retryable = False
    later = replace(refused, code="unavailable", retryable=True)
    too_late = replace(refused, op="cancel", code="not_running")
    assert Scene(requests=[later, too_late]).found() == set()
    assert Scene(requests=[refused]).found() == {Wrong.REFUSED}


@pytest.mark.parametrize(
    "extra",
    [
        ("3-7", 7, TWO, finished(TWO)),
        ("3-7", 7, TWO, chunk("more", "d")),
        ("3-7", 7, TWO, {"type": "RUN_STARTED", "runId": TWO}),
    ],
    ids=["two ends", "after the end", "two beginnings"],
)
def test_runs_without_exactly_one_beginning_and_end_are_found(
    extra: tuple[str, int, str, dict[str, object]],
) -> None:
    scene = Scene()
    scene.stored.append(extra)
    scene.frames.append(seen(extra[0], extra[3]))
    assert Wrong.TERMINALS in scene.found()


def test_an_ended_run_without_an_end_is_found() -> None:
    scene = Scene()
    scene.stored.pop()
    scene.frames.pop()
    assert scene.found() == {Wrong.TERMINALS}


# -- events ----------------------------------------------------------------------------------------


def test_doubled_events_are_found() -> None:
    scene = Scene()
    scene.frames.insert(4, scene.frames[3])
    assert scene.found() == {Wrong.DOUBLED}


@pytest.mark.parametrize("index", [0, 2, 3, 4, 6, 7, 8, 12])
def test_missing_events_are_found(index: int) -> None:
    scene = Scene()
    del scene.frames[index]
    assert Wrong.MISSING in scene.found()


def test_reordered_events_are_found() -> None:
    scene = Scene()
    scene.frames[7], scene.frames[8] = scene.frames[8], scene.frames[7]
    assert Wrong.REORDERED in scene.found()


def test_changed_events_are_found() -> None:
    scene = Scene()
    scene.frames[7] = seen("3-1", RESUMED | {"name": "other"})
    assert scene.found() == {Wrong.CHANGED}


@pytest.mark.parametrize("delta", ["word2 word2 ", "word", "", "wordx "])
def test_changed_text_is_found(delta: str) -> None:
    scene = Scene()
    scene.frames[2] = seen("1-3", chunk(delta, "a"))
    assert Wrong.CHANGED in scene.found()


def test_events_that_are_not_stored_are_found() -> None:
    scene = Scene()
    scene.frames.append(seen("4-1", RESUMED))
    assert scene.found() == {Wrong.CHANGED}


def test_an_event_may_be_lost_with_its_runner_and_redis_at_once() -> None:
    scene = Scene()
    scene.frames.insert(7, seen("2-4", chunk("word2", "b"), at=5.0))
    scene.frames[8] = seen("3-1", RESUMED, at=9.0)
    killed = hit(FaultKind.KILL_RUNNER, at=6.0)
    killed.victims = (Victim(run=TWO, fence=2),)
    flushed = hit(FaultKind.FLUSH, at=5.5)
    assert scene.found() == {Wrong.CHANGED}
    scene.hits = [killed]
    assert scene.found() == {Wrong.CHANGED}
    scene.hits = [killed, flushed]
    assert scene.found() == set()
    killed.victims = (Victim(run=TWO, fence=1),)
    assert scene.found() == {Wrong.CHANGED}
    killed.victims, flushed.at = None, 3.5
    assert scene.found() == {Wrong.CHANGED}


def test_an_event_may_be_shown_and_lost_after_the_death_of_its_runner() -> None:
    """Redis stood still, went on, and was lost before the take-over had read it."""
    scene = Scene()
    scene.frames.insert(7, seen("2-4", chunk("word2", "b"), at=8.0))
    scene.frames[8] = seen("3-1", RESUMED, at=12.0)
    killed = hit(FaultKind.KILL_RUNNER, at=6.0)
    killed.victims = None
    scene.hits = [killed, hit(FaultKind.FLUSH, at=10.0)]
    assert scene.found() == set()
    killed.at = 3.0  # before the claim under which it was written
    assert scene.found() == {Wrong.CHANGED}


def test_all_that_a_claim_wrote_may_be_seen_first_after_its_runner_has_died() -> None:
    scene = Scene()
    scene.frames.insert(7, seen("2-4", chunk("word2", "b"), at=8.0))
    scene.frames[8] = seen("3-1", RESUMED, at=12.0)
    killed = hit(FaultKind.POISON, at=4.0)
    killed.victims = (Victim(run=TWO, fence=2),)
    scene.hits = [killed, hit(FaultKind.FLUSH, at=10.0)]
    assert scene.found() == set()


def test_after_a_reset_events_may_come_again() -> None:
    scene = Scene()
    scene.frames[7:7] = [restated("1-5"), *scene.frames[5:7]]
    assert scene.found() == set()


def test_after_a_reset_events_may_not_be_missing() -> None:
    scene = Scene()
    scene.frames[7:7] = [restated("1-5"), scene.frames[5]]
    assert Wrong.MISSING in scene.found()


# -- answers ---------------------------------------------------------------------------------------


def test_a_stored_answer_that_is_not_the_models_is_found() -> None:
    scene = Scene()
    scene.runs[TWO] = replace(scene.runs[TWO], answer="word1 word1 word2 word3")
    assert scene.found() == {Wrong.TEXT}


def test_a_text_that_was_not_withdrawn_is_found() -> None:
    scene = Scene()
    kept = {"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "b", "content": "word1 "}]}
    joined = chunk("word1 word2 word3", "b")
    scene.stored[6] = ("3-2", 2, TWO, kept)
    scene.stored[7] = ("3-3", 5, TWO, joined)
    scene.frames[8] = seen("3-2", kept)
    scene.frames[9:12] = [seen("3-5", joined)]
    assert scene.found() == {Wrong.TEXT}


# -- model calls -----------------------------------------------------------------------------------


def test_a_finished_call_made_again_is_found() -> None:
    scene = Scene()
    scene.calls[-1:] = [call(TWO, 7), call(TWO, 11)]
    assert scene.found() == {Wrong.CALLS}


def test_more_repeats_than_take_overs_are_found() -> None:
    scene = Scene()
    scene.calls.append(call(TWO, 11))
    assert scene.found() == {Wrong.CALLS}


def test_a_repeat_without_a_take_over_is_found() -> None:
    scene = Scene()
    scene.calls.insert(1, call(ONE, 1))
    assert scene.found() == {Wrong.CALLS}


def test_two_parallel_calls_may_be_cut_at_once() -> None:
    scene = Scene()
    subs = [call(TWO, 1, "Summarizer", digest=digest) for digest in "abab"]
    scene.calls = [*scene.calls[:3], call(TWO, 7), *subs, call(TWO, 10)]
    assert scene.found() == {Wrong.CALLS}
    scene.asks[TWO] = ask(TWO, branches=2)
    assert scene.found() == set()
    scene.calls.append(subs[0])
    assert scene.found() == {Wrong.CALLS}


def test_an_answer_without_a_call_is_told() -> None:
    scene = Scene()
    scene.calls = [one for one in scene.calls if one.mark == scene.calls[0].mark]
    assert scene.found() == {Wrong.EVIDENCE}


def test_an_answer_to_what_was_asked_without_a_mark_is_not() -> None:
    scene = Scene()
    for run, asked in scene.asks.items():
        scene.asks[run] = replace(asked, text=asked.text.replace(asked.mark, "unmarked"))
    scene.calls = [one for one in scene.calls if one.mark == scene.calls[0].mark]
    assert scene.found() == set()


def test_calls_that_nobody_saw_are_told() -> None:
    assert Scene(calls_missed=3).found() == {Wrong.EVIDENCE}


# -- effects ---------------------------------------------------------------------------------------


def test_a_repeated_effect_is_found() -> None:
    scene = Scene()
    scene.ledger[1] = scene.ledger[0]
    assert scene.found() == {Wrong.EFFECTS}


@pytest.mark.parametrize("run", [TWO, "run_c9x9x"])
def test_effects_that_nobody_asked_for_are_found(run: str) -> None:
    scene = Scene()
    scene.ledger.append(Effect(run=run, key="another"))
    assert scene.found() == {Wrong.EFFECTS}


def test_a_repeated_note_is_found() -> None:
    scene = Scene()
    scene.notes["c0x0x"] = 2
    assert scene.found() == {Wrong.EFFECTS}


def test_effects_missing_from_a_finished_run_are_found() -> None:
    scene = Scene()
    scene.ledger.pop()
    scene.notes.pop("c0x0x")
    assert scene.found() == {Wrong.UNDONE}


def test_a_failed_run_may_lack_effects() -> None:
    scene = Scene(hits=[hit(FaultKind.KILL_TOOLSVC, at=4.0)])
    scene.ends(TWO, "failed", "tool_outcome_unknown")
    scene.ledger.pop()
    assert scene.found() == set()


# -- chain and spans -------------------------------------------------------------------------------


def test_a_broken_chain_is_found() -> None:
    whole = thread(STORED)
    assert not list(judge_chain(whole))
    rows = whole.rows
    changed = replace(rows[1], row=rows[1].row._replace(data="{}"))
    assert list(judge_chain(replace(whole, rows=(rows[0], changed, *rows[2:]))))
    assert list(judge_chain(replace(whole, rows=(*rows[:2], *rows[3:]))))
    assert list(judge_chain(replace(whole, rows=rows[:-1])))
    assert list(judge_chain(replace(whole, rows=(rows[0], replace(rows[1], hash=b""), *rows[2:]))))


def test_a_span_left_open_is_found() -> None:
    scene = Scene(spans=[SpanRow(id="s1", run=ONE, ended=False)])
    assert scene.found() == {Wrong.SPANS}


def test_a_span_exported_twice_is_found() -> None:
    assert Scene(exported=["s1", "s1"]).found() == {Wrong.EXPORTS}
