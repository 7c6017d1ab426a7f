"""The outbox: seqs without gaps, deltas joined, and whatever Redis has forgotten sent anew."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from runner import outbox as module
from runner.outbox import BATCH_EVENTS, DELTA_WINDOW_S, Outbox, delta_prefix
from shared.bus.append import Answer, Batch, Entry, Mode, Reply
from shared.protocol.record import ForeignRow, Row

THREAD = UUID(int=7)
FENCE = 3
STARTS = [ForeignRow(1, 1, "RUN_STARTED", "{}"), ForeignRow(FENCE, 1, "CUSTOM", "{}")]
PREFIXES = {
    name: delta_prefix({"type": "TEXT_MESSAGE_CHUNK", "messageId": name}) for name in ("a", "b")
}


def outbox() -> tuple[Outbox, list[Outbox]]:
    woken: list[Outbox] = []
    made = Outbox(
        thread=THREAD, run_id="r", fence=FENCE, starts=STARTS, ttl_s=60, changed=woken.append
    )
    return made, woken


def say(box: Outbox, text: str, message: str = "a") -> None:
    box.delta("TEXT_MESSAGE_CHUNK", PREFIXES[message], text)


def other(name: str = "x") -> dict[str, Any]:
    return {"type": "CUSTOM", "name": name, "value": None}


def seqs(batch: Batch) -> list[int]:
    return [entry.at.seq for entry in batch.entries]


def texts(items: list[Entry] | list[Row]) -> list[tuple[str, str]]:
    """(message, text) of each delta, ("", type) of everything else."""
    parsed = [orjson.loads(one.data) for one in items]
    return [(one.get("messageId", ""), one.get("delta", one["type"])) for one in parsed]


# ------------------------------------------------------------------------------ joining
def test_deltas_of_one_message_join_while_nobody_has_taken_them() -> None:
    box, _ = outbox()
    for text in ("Hel", "lo", "!"):
        say(box, text)
    assert box.last == 2
    batch = box.take()
    assert texts(list(batch.entries)) == [("a", "Hello!")]
    say(box, " More")
    assert box.last == 3
    assert texts(list(batch.entries)) == [("a", "Hello!")]


def test_deltas_of_two_messages_and_across_an_event_do_not_join() -> None:
    box, _ = outbox()
    say(box, "1")
    say(box, "2", "b")
    say(box, "3")
    box.emit(other())
    say(box, "4")
    say(box, "5")
    batch = box.take()
    assert seqs(batch) == [2, 3, 4, 5, 6]
    found = texts(list(batch.entries))
    assert found == [("a", "1"), ("b", "2"), ("a", "3"), ("", "CUSTOM"), ("a", "45")]


def test_what_a_commit_has_taken_grows_no_more() -> None:
    box, _ = outbox()
    say(box, "one")
    rows = box.uncommitted(ending=False)
    say(box, "two")
    assert texts(rows) == [("a", "one")]
    box.committed(rows[-1].seq_to)
    assert texts(box.uncommitted(ending=False)) == [("a", "two")]


def test_adjacent_deltas_are_one_row_with_the_text_of_all() -> None:
    box, _ = outbox()
    for text in ("a", "é😀", '"\n'):
        say(box, text)
        box.take()
    box.emit(other())
    assert box.uncommitted(ending=False) == [
        Row(2, 4, "TEXT_MESSAGE_CHUNK", PREFIXES["a"] + '"aé😀\\"\\n"}'),
        Row(5, 5, "CUSTOM", orjson.dumps(other()).decode()),
    ]


def test_rows_and_entries_are_json_with_the_delta_last() -> None:
    box, _ = outbox()
    say(box, "x")
    (entry,) = box.take().entries
    assert orjson.loads(entry.data) == {
        "type": "TEXT_MESSAGE_CHUNK",
        "messageId": "a",
        "delta": "x",
    }


# ------------------------------------------------------------------------------ when to send
def test_the_first_delta_and_every_event_go_at_once_and_further_deltas_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    box, woken = outbox()
    say(box, "first")
    assert (box.due, woken) == (100.0, [box])
    box.take()
    assert box.due is None
    say(box, "further")
    assert box.due == 100.0 + DELTA_WINDOW_S
    box.emit(other())
    assert box.due == 100.0
    box.take()
    say(box, "first again")
    assert box.due == 100.0


# ------------------------------------------------------------------------------ answers
def filled(count: int) -> Outbox:
    box, _ = outbox()
    for number in range(count):
        box.emit(other(str(number)))
    return box


def test_a_batch_is_bounded_and_the_next_goes_on() -> None:
    box = filled(BATCH_EVENTS + 10)
    first = box.take()
    assert len(first.entries) == BATCH_EVENTS
    box.answered(Reply(Answer.OK, first.entries[-1].at.seq))
    assert box.unsent
    assert seqs(box.take()) == list(range(BATCH_EVENTS + 2, BATCH_EVENTS + 12))
    box.answered(Reply(Answer.OK, box.last))
    assert not box.unsent
    assert box.all_sent.is_set()


def test_a_lower_have_sends_the_rest_again() -> None:
    box = filled(10)
    box.take()
    box.answered(Reply(Answer.OK, 11))
    box.emit(other())
    box.take()
    box.answered(Reply(Answer.HAVE, 4))
    batch = box.take()
    assert (batch.mode, seqs(batch)) == (Mode.APPEND, list(range(5, 13)))


def test_a_stream_that_does_not_know_us_gets_our_start_again() -> None:
    box = filled(2)
    box.take()
    box.answered(Reply(Answer.HAVE, 0))
    batch = box.take()
    assert batch.mode is Mode.CREATE
    assert batch.sql_last is None
    assert [entry.at for entry in batch.entries] == [(1, 1), (3, 1), (3, 2), (3, 3)]


def test_what_redis_has_and_this_writer_cannot_have_written_is_anothers() -> None:
    box = filled(0)
    for _ in range(3):
        box.emit(other())
    batch = box.take()
    assert [one.at.seq for one in batch.entries] == [2, 3, 4]
    taken, whole = Reply(Answer.HAVE, 2), Reply(Answer.HAVE, 4)
    assert box.is_foreign(taken)
    assert box.is_foreign(whole)
    assert box.is_foreign(Reply(Answer.HAVE, 9999))
    assert not box.is_foreign(Reply(Answer.HAVE, 1))
    box.unanswered(batch)
    assert not box.is_foreign(taken)
    assert not box.is_foreign(whole)
    assert box.is_foreign(Reply(Answer.HAVE, 5))


def test_a_refill_is_the_start_rows_and_all_that_is_kept() -> None:
    box = filled(BATCH_EVENTS + 5)
    box.answered(Reply(Answer.OK, BATCH_EVENTS + 6))
    box.refill()
    assert box.unsent
    batch = box.take()
    assert batch.mode is Mode.CREATE
    assert [entry.at for entry in batch.entries][:3] == [(1, 1), (3, 1), (3, 2)]
    box.answered(Reply(Answer.OK, batch.entries[-1].at.seq))
    assert seqs(box.take()) == list(range(BATCH_EVENTS + 2, BATCH_EVENTS + 7))


def test_a_refill_of_a_run_that_has_said_nothing_yet_is_its_start_alone() -> None:
    box, _ = outbox()
    box.refill()
    assert [entry.at for entry in box.take().entries] == [(1, 1), (3, 1)]
    box.answered(Reply(Answer.OK, 1))
    assert not box.unsent


# ------------------------------------------------------------------------------ the terminal event
def test_the_terminal_event_is_committed_but_not_published_before_its_release() -> None:
    box = filled(1)
    box.hold_back({"type": "RUN_FINISHED"})
    assert [row.type for row in box.uncommitted(ending=False)] == ["CUSTOM"]
    assert [row.type for row in box.uncommitted(ending=True)] == ["CUSTOM", "RUN_FINISHED"]
    assert seqs(box.take()) == [2]
    box.answered(Reply(Answer.OK, 2))
    assert not box.unsent
    box.refill()
    assert [entry.at.seq for entry in box.take().entries] == [1, 1, 2]
    box.answered(Reply(Answer.OK, 2))
    box.release()
    assert box.unsent
    assert not box.all_sent.is_set()
    assert seqs(box.take()) == [3]


def test_nothing_comes_after_the_terminal_event() -> None:
    box = filled(1)
    say(box, "half")
    box.hold_back({"type": "RUN_ERROR"})
    box.emit(other())
    say(box, " a word")
    assert [row.type for row in box.uncommitted(ending=True)][-1] == "RUN_ERROR"
    box.release()
    box.emit(other())
    assert box.last == 4


# ------------------------------------------------------------------------------ memory
def test_past_the_bound_committed_events_go_and_redis_goes_past_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis was away all the time."""
    monkeypatch.setattr(module, "KEEP_BYTES", 10_000)
    box, _ = outbox()
    for _ in range(20):
        box.emit(other("x" * 1000))
    box.committed(15)
    assert box._bytes <= 10_000
    assert box.uncommitted(ending=False)[0].seq == 16
    batch = box.take()
    low = seqs(batch)[0]
    assert 2 < low <= 16
    box.answered(Reply(Answer.HAVE, 1))
    batch = box.take()
    assert (batch.mode, seqs(batch)) == (Mode.FORCE, list(range(low, 22)))
    box.answered(Reply(Answer.OK, 21))
    box.emit(other())
    assert box.take().mode is Mode.APPEND


def test_what_sql_lacks_is_never_dropped_nor_is_the_newest_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "KEEP_BYTES", 10)
    box = filled(5)
    box.committed(3)
    assert [row.seq for row in box.uncommitted(ending=False)] == [4, 5, 6]
    box.committed(6)
    assert seqs(box.take()) == [6]


def test_joined_deltas_count_for_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_BYTES", 10_000)
    box, _ = outbox()
    for _ in range(200):
        say(box, "x" * 100)
    box.emit(other())
    box.committed(2)
    assert seqs(box.take()) == [3]
