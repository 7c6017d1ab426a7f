"""Transcripts: frames in, happenings out."""

from typing import Any

from agent.watch import Accepted, LookUp, Placed, Refused, Restarted, Say, Watch
from shared.protocol.position import Position
from tests.agent.standin import finished, started, text

THREAD, RUN, OTHER = "thr_1", "run_1", "run_2"
REQUEST: dict[str, Any] = {"op": "run", "input": {"threadId": THREAD, "runId": RUN}}


def event(id_: str, event: dict[str, Any]) -> dict[str, Any]:
    return {"op": "event", "threadId": THREAD, "id": id_, "event": event}


ACK = {"op": "ack", "id": "run", "runId": RUN, "queued": False}


def begun() -> Watch:
    watch = Watch(THREAD, RUN, request=REQUEST)
    assert watch.opening() == [REQUEST | {"id": "run"}]
    assert watch.take(ACK) == [Accepted(queued=False)]
    assert watch.take(event("1-1", started(THREAD, RUN))) == [Placed("1-1", started(THREAD, RUN))]
    return watch


def test_a_run_is_accepted_streams_and_ends() -> None:
    watch = begun()
    assert watch.take(event("1-2", text("a"))) == [Placed("1-2", text("a"))]
    assert not watch.ended
    assert watch.take(event("1-3", finished(THREAD, RUN)))
    assert watch.ended


def test_an_event_that_was_seen_is_not_seen_again() -> None:
    watch = begun()
    assert watch.take(event("1-1", started(THREAD, RUN))) == []


def test_other_runs_and_other_threads_mean_nothing() -> None:
    watch = Watch(THREAD, RUN, request=REQUEST)
    watch.opening()
    watch.take(ACK)
    assert watch.take(event("1-1", started(THREAD, OTHER))) == []
    assert watch.take(event("1-2", text("theirs"))) == []
    assert watch.take(event("1-3", finished(THREAD, OTHER))) == []
    assert watch.take(event("2-1", started(THREAD, RUN))) != []
    assert watch.take(event("2-2", text("ours")) | {"threadId": "thr_2"}) == []


def test_a_new_connection_goes_on_from_the_cursor() -> None:
    watch = begun()
    subscribe = {"op": "subscribe", "id": "subscribe", "threadId": THREAD, "after": "1-1"}
    assert watch.opening() == [subscribe]
    assert watch.take(event("1-2", text("a"))) == [Placed("1-2", text("a"))]


def test_a_run_whose_answer_was_lost_is_asked_for_again_and_then_subscribed_to() -> None:
    watch = Watch(THREAD, RUN, request=REQUEST)
    assert watch.opening() == watch.opening() == [REQUEST | {"id": "run"}]
    subscribe = {"op": "subscribe", "id": "subscribe", "threadId": THREAD}
    assert watch.take(ACK) == [Accepted(queued=False), Say(subscribe)]


def test_after_a_reset_the_run_comes_again_from_its_first_event() -> None:
    watch = begun()
    watch.take(event("1-2", text("a")))
    assert watch.take({"op": "reset", "threadId": THREAD, "cursor": "1-0", "run": None}) == [
        Restarted()
    ]
    assert watch.take(event("1-1", started(THREAD, RUN))) != []
    assert watch.take({"op": "live", "threadId": THREAD, "cursor": "1-1"}) == []


def test_a_reset_after_the_end_has_to_be_looked_up() -> None:
    watch = begun()
    watch.take({"op": "reset", "threadId": THREAD, "cursor": "1-9", "run": None})
    assert watch.take({"op": "live", "threadId": THREAD, "cursor": "1-9"}) == [LookUp()]
    assert watch.take_stored("1-1", started(THREAD, RUN)).id == "1-1"
    watch.take_stored("1-9", finished(THREAD, RUN))
    assert watch.ended


def test_a_waiting_run_is_looked_up_when_something_changes() -> None:
    watch = Watch(THREAD, RUN, request=REQUEST)
    watch.opening()
    assert watch.take(ACK | {"queued": True}) == [Accepted(queued=True)]
    assert watch.take({"op": "changed", "what": "queue"}) == [LookUp()]
    assert watch.take({"op": "changed", "what": "queue", "threadId": "thr_2"}) == []
    watch.take(event("1-1", started(THREAD, RUN)))
    assert watch.take({"op": "changed", "what": "queue"}) == []


def test_a_refusal_of_what_we_asked_is_told() -> None:
    watch = Watch(THREAD, RUN, request=REQUEST)
    watch.opening()
    refusal = {"op": "error", "id": "run", "code": "busy", "message": "No.", "retryable": True}
    assert watch.take(refusal) == [Refused("busy", "No.", retryable=True)]
    assert watch.take(refusal | {"id": "c7"}) == []


def test_a_watch_can_begin_behind_a_cursor() -> None:
    watch = Watch(THREAD, RUN, cursor=Position(3, 4), begun=True)
    assert watch.opening()[0]["after"] == "3-4"
    assert watch.take(event("3-4", text("old"))) == []
    assert watch.take(event("3-5", text("new"))) == [Placed("3-5", text("new"))]


def test_nonsense_means_nothing() -> None:
    watch = begun()
    strange: list[dict[str, Any]] = [
        {},
        {"op": "surprise"},
        {"op": "event", "threadId": THREAD, "id": "x", "event": {}},
        {"op": "event", "threadId": THREAD, "id": 7, "event": {}},
        {"op": "event", "threadId": THREAD, "id": "1-5", "event": []},
        {"op": "ack", "id": "something"},
        {"op": "pong", "id": "c1"},
    ]
    assert [watch.take(frame) for frame in strange] == [[]] * len(strange)
